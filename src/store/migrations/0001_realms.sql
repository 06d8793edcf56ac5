-- Realms, their domains, and the one door through which every transaction enters a realm.
--
-- `realms` and `realm_domains` are the register of tenants: every node reads them to find out where a request stands.
-- All other tables hold one tenant's data a row, and are made by `tenant_table` below.

CREATE TABLE realms (
    id           uuid        PRIMARY KEY,
    name         text        NOT NULL UNIQUE,
    display_name text,
    enabled      boolean     NOT NULL,
    scim_enabled boolean     NOT NULL,
    -- Raised by every change of tokens, policy, domains or the realm itself.
    epoch        bigint      NOT NULL,
    policy       jsonb       NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL
);

CREATE TABLE realm_domains (
    domain     text        PRIMARY KEY,
    realm_id   uuid        NOT NULL REFERENCES realms (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL
);
CREATE INDEX realm_domains_realm ON realm_domains (realm_id);

GRANT SELECT, INSERT, UPDATE, DELETE ON realms, realm_domains TO realmgate_app;

-- Where a transaction stands. Row-level security reads the setting; without it, or with another realm's, no row exists.
-- Fails with RG001 if the realm is gone, or has moved on from the epoch under which the caller was let in.
CREATE FUNCTION enter(realm uuid, at_epoch bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM realms WHERE id = realm AND epoch = at_epoch) THEN
        RAISE EXCEPTION 'realm % is no longer at epoch %', realm, at_epoch USING ERRCODE = 'RG001';
    END IF;
    PERFORM set_config('realmgate.realm', realm::text, true);
END $$;

-- Makes a table a tenant table: 8 partitions (each further one costs every statement a lock; 8 keeps vacuum of large
-- installations parallel), row-level security which binds the owner too, and rights on the parent only, so that no
-- partition can be read past the policy.
CREATE PROCEDURE tenant_table(name text) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 0..7 LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES WITH (MODULUS 8, REMAINDER %s)', name || '_' || i, name, i);
    END LOOP;
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY realm ON %I USING (realm_id = nullif(current_setting(''realmgate.realm'', true), '''')::uuid)', name);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO realmgate_app', name);
END $$;
