-- Every change, written by the statement which makes it. `xid` is for the reader: only what lies below the snapshot's
-- oldest running transaction is complete, whatever the order of `id`.

CREATE TABLE outbox (
    realm_id    uuid        NOT NULL REFERENCES realms (id) ON DELETE CASCADE,
    id          bigint      GENERATED ALWAYS AS IDENTITY,
    xid         xid8        NOT NULL DEFAULT pg_current_xact_id(),
    event       text        NOT NULL,
    -- The user or group which changed, and its version after the change.
    resource_id uuid        NOT NULL,
    version     bigint      NOT NULL,
    -- The member who came or went.
    member_id   uuid,
    -- The document after the change, and the former values of what changed.
    attributes  jsonb,
    previous    jsonb,
    actor       jsonb       NOT NULL,
    request_id  text        NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (realm_id, id)
) PARTITION BY HASH (realm_id);
CALL tenant_table('outbox');
