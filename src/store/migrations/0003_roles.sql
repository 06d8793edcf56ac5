-- Realm roles. `scim-managed` is in each realm from its creation.

CREATE TABLE roles (
    realm_id    uuid        NOT NULL REFERENCES realms (id) ON DELETE CASCADE,
    id          uuid        NOT NULL,
    name        text        NOT NULL,
    description text,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (realm_id, id),
    UNIQUE (realm_id, name)
) PARTITION BY HASH (realm_id);
CALL tenant_table('roles');

-- A realm begins with its role. A function, because row-level security lets the role in only once the transaction
-- stands in the realm, and the realm is not there before.
CREATE FUNCTION found_realm(realm uuid, name text, display_name text, enabled boolean, at timestamptz, role uuid,
                            role_name text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO realms VALUES (realm, name, display_name, enabled, false, 1, '{}', at, at);
    PERFORM enter(realm, 1), pg_notify('realmgate_realms', realm::text);
    INSERT INTO roles VALUES (realm, role, role_name, 'Kept in step by the identity provider over SCIM', at);
END $$;
