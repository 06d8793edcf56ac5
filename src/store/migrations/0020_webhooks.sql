-- Webhooks: where a realm's events are sent, how far each endpoint has come, and what was tried lately.

CREATE TABLE webhooks (
    realm_id              uuid        NOT NULL REFERENCES realms (id) ON DELETE CASCADE,
    id                    uuid        NOT NULL,
    url                   text        NOT NULL,
    description           text,
    -- Names of events, and prefixes of names; all events if there is none.
    events                text[]      NOT NULL,
    format                text        NOT NULL,
    enabled               boolean     NOT NULL,
    -- Encrypted: see `secret::KeyRing`.
    secrets               bytea       NOT NULL,
    previous_secret_until timestamptz,
    created_at            timestamptz NOT NULL,
    updated_at            timestamptz NOT NULL,
    PRIMARY KEY (realm_id, id)
) PARTITION BY HASH (realm_id);
CALL tenant_table('webhooks');

-- The nodes which send. A row whose time is over is deleted by the others, and whatever its node held is free.
CREATE TABLE senders (
    id          uuid        PRIMARY KEY,
    alive_until timestamptz NOT NULL
);

-- Where each endpoint stands. Like `realms` a register of the nodes, who look for work in it and write down what is done
-- for many realms at once: it holds nothing of a tenant but numbers.
CREATE TABLE webhook_cursors (
    realm_id   uuid    NOT NULL,
    webhook_id uuid    NOT NULL,
    enabled    boolean NOT NULL,
    -- The last event which is done with.
    cursor     bigint  NOT NULL,
    -- `model::webhook::State`.
    state      jsonb   NOT NULL,
    parked     boolean NOT NULL,
    -- Raised when the endpoint is set otherwise.
    revision   bigint  NOT NULL DEFAULT 0,
    -- Raised when somebody else moves the cursor or takes the endpoint over: what a sender writes under an older one is
    -- worth nothing.
    fence      bigint  NOT NULL DEFAULT 0,
    leased_by  uuid    REFERENCES senders (id) ON DELETE SET NULL,
    PRIMARY KEY (realm_id, webhook_id),
    FOREIGN KEY (realm_id, webhook_id) REFERENCES webhooks (realm_id, id) ON DELETE CASCADE
) WITH (fillfactor = 50);
CREATE INDEX webhook_cursors_leased ON webhook_cursors (leased_by) WHERE leased_by IS NOT NULL;
CREATE INDEX webhook_cursors_free ON webhook_cursors (realm_id, webhook_id)
    WHERE leased_by IS NULL AND enabled AND NOT parked;
CREATE INDEX webhook_cursors_parked ON webhook_cursors (realm_id) WHERE parked;
GRANT SELECT, INSERT, UPDATE, DELETE ON senders, webhook_cursors TO realmgate_app;

-- Recent attempts. `id` is a UUIDv7: the order is that of time, and what is old is found by it. Written for many realms
-- at once, together with the cursors; without a foreign key, which would cost each row more than all else.
CREATE TABLE deliveries (
    realm_id    uuid        NOT NULL,
    webhook_id  uuid        NOT NULL,
    id          uuid        NOT NULL,
    -- Null of a test.
    seq         bigint,
    event_id    uuid        NOT NULL,
    attempt     int         NOT NULL,
    at          timestamptz NOT NULL,
    status      smallint,
    duration_ms int         NOT NULL,
    error       text,
    PRIMARY KEY (realm_id, webhook_id, id)
) PARTITION BY HASH (realm_id);
CALL tenant_table('deliveries');
CREATE POLICY written_for_all ON deliveries FOR INSERT TO realmgate_app WITH CHECK (true);
REVOKE UPDATE ON deliveries FROM realmgate_app;
