-- The request log: what each realm's IdP sent and what became of it.
--
-- One statement writes the entries of many realms, so any realm's may be inserted; read and deleted they are like all
-- else, by who stands in the realm. `id` is a UUIDv7: time is found by it, and no further index has to be kept. No
-- foreign key: it would cost each entry more than all else, and an entry which comes too late must not take others with
-- it. The statement holds the realms it writes for, and deleting a realm empties its log.

CREATE TABLE request_log (
    realm_id    uuid        NOT NULL,
    id          uuid        NOT NULL,
    at          timestamptz NOT NULL,
    request_id  text        NOT NULL,
    method      text        NOT NULL,
    route       text        NOT NULL,
    path        text        NOT NULL,
    user_agent  text,
    actor       text,
    status      smallint    NOT NULL,
    duration_us bigint      NOT NULL,
    body_size   bigint,
    body        text,
    operations  text,
    error       text,
    diagnosis   text,
    PRIMARY KEY (realm_id, id)
) PARTITION BY HASH (realm_id);
CALL tenant_table('request_log');
CREATE POLICY written_for_all ON request_log FOR INSERT TO realmgate_app WITH CHECK (true);
REVOKE UPDATE ON request_log FROM realmgate_app;

-- What an IdP has been seen to do, first and last, to the quarter of an hour: what the log itself forgets.
CREATE TABLE signs (
    realm_id uuid        NOT NULL REFERENCES realms (id) ON DELETE CASCADE,
    sign     text        NOT NULL,
    first_at timestamptz NOT NULL,
    last_at  timestamptz NOT NULL,
    PRIMARY KEY (realm_id, sign)
) PARTITION BY HASH (realm_id);
CALL tenant_table('signs');

-- Tokens which were good once, so that who still uses one can be told since when it is not.
CREATE TABLE ended_tokens (
    realm_id uuid        NOT NULL REFERENCES realms (id) ON DELETE CASCADE,
    hash     bytea       NOT NULL,
    ended_at timestamptz NOT NULL,
    PRIMARY KEY (realm_id, hash)
) PARTITION BY HASH (realm_id);
CALL tenant_table('ended_tokens');

-- Hashes of all tokens, and not whose they are: a token that is wrong in one realm can be told to be another's, and
-- nobody can ask which one's.
CREATE TABLE token_hashes (hash bytea PRIMARY KEY);
GRANT SELECT, INSERT, DELETE ON token_hashes TO realmgate_app;
