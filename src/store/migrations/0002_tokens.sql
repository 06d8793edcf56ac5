-- SCIM tokens. Only the SHA-256 is kept; `prefix` is what a list may show.

CREATE TABLE scim_tokens (
    realm_id     uuid        NOT NULL REFERENCES realms (id) ON DELETE CASCADE,
    id           uuid        NOT NULL,
    hash         bytea       NOT NULL,
    prefix       text        NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    last_used_at timestamptz,
    PRIMARY KEY (realm_id, id),
    UNIQUE (realm_id, hash)
) PARTITION BY HASH (realm_id);
CALL tenant_table('scim_tokens');
