-- The leaver guard: who lost access lately, and what is held until an operator has looked at it.

-- Who lost access within the window of the policy, each person once.
CREATE TABLE departures (
    realm_id    uuid        NOT NULL REFERENCES realms (id) ON DELETE CASCADE,
    person_id   uuid        NOT NULL,
    departed_at timestamptz NOT NULL,
    PRIMARY KEY (realm_id, person_id)
) PARTITION BY HASH (realm_id);
CREATE INDEX departures_departed_at ON departures (realm_id, departed_at) WHERE departed_at IS NOT NULL;
CALL tenant_table('departures');

-- One row a realm, held while departures are counted: always the last lock to be taken.
CREATE TABLE leaver_guards (
    realm_id     uuid        NOT NULL PRIMARY KEY REFERENCES realms (id) ON DELETE CASCADE,
    -- How many users may come in, counted now and then.
    active_users bigint      NOT NULL,
    counted_at   timestamptz NOT NULL,
    -- Since when changes are held; null while they are let through.
    held_since   timestamptz
) PARTITION BY HASH (realm_id);
CALL tenant_table('leaver_guards');

-- What an IdP has asked for and what has not happened yet, in the order in which it was asked for first.
CREATE TABLE held_changes (
    realm_id   uuid        NOT NULL REFERENCES realms (id) ON DELETE CASCADE,
    place      bigint      GENERATED ALWAYS AS IDENTITY,
    kind       text        NOT NULL,
    -- The user or group which goes, or the member who leaves the group.
    subject_id uuid        NOT NULL,
    -- The group which the member leaves, else the nil id.
    group_id   uuid        NOT NULL,
    actor      jsonb       NOT NULL,
    request_id text        NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (realm_id, kind, subject_id, group_id)
) PARTITION BY HASH (realm_id);
CREATE INDEX held_changes_place ON held_changes (realm_id, place) WHERE place IS NOT NULL;
CALL tenant_table('held_changes');
