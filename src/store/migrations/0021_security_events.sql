-- Security event tokens: the key which signs those of a realm, and streams from which receivers poll them.

CREATE TABLE realm_keys (
    realm_id    uuid        NOT NULL REFERENCES realms (id) ON DELETE CASCADE,
    kid         uuid        NOT NULL,
    -- P-256, uncompressed point.
    public_key  bytea       NOT NULL,
    -- PKCS #8, encrypted: see `secret::KeyRing`. Null of a key which signs no longer.
    private_key bytea,
    created_at  timestamptz NOT NULL,
    -- Until when a key is published which signs no longer.
    expires_at  timestamptz,
    PRIMARY KEY (realm_id, kid)
) PARTITION BY HASH (realm_id);
CALL tenant_table('realm_keys');

CREATE TABLE event_streams (
    realm_id        uuid        NOT NULL REFERENCES realms (id) ON DELETE CASCADE,
    id              uuid        NOT NULL,
    name            text        NOT NULL,
    audience        text        NOT NULL,
    -- Names of events, and prefixes of names; all events if there is none.
    events          text[]      NOT NULL,
    -- SHA-256 of the token which polls.
    token_hash      bytea       NOT NULL,
    -- All events up to this one are done with.
    cursor          bigint      NOT NULL,
    -- The last event which was handed out.
    sent            bigint      NOT NULL,
    -- Events behind the cursor which are done with.
    acknowledged    bigint[]    NOT NULL DEFAULT '{}',
    -- Raised with each change of the three: who writes them has read them.
    revision        bigint      NOT NULL DEFAULT 0,
    acknowledged_at timestamptz,
    -- What the receiver said last of a token that it could not use.
    last_error      jsonb,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (realm_id, id)
) PARTITION BY HASH (realm_id);
CALL tenant_table('event_streams');
