-- Every administrative change: who, what, before and after without secrets, by which request. It outlives the realm that
-- it tells of, so it refers to nothing, and lies outside of row-level security: operators alone read it. The application
-- can add to it and can neither change nor remove what is there.

CREATE TABLE audit_log (
    -- UUIDv7: in the order of time.
    id         uuid        PRIMARY KEY,
    realm_id   uuid        NOT NULL,
    actor      jsonb       NOT NULL,
    request_id text        NOT NULL,
    action     text        NOT NULL,
    -- What the action was done to, if not to the realm as a whole.
    target     text        NOT NULL,
    before     jsonb,
    after      jsonb,
    created_at timestamptz NOT NULL
);
CREATE INDEX audit_log_realm ON audit_log (realm_id, id) WHERE realm_id IS NOT NULL;

GRANT SELECT, INSERT ON audit_log TO realmgate_app;
