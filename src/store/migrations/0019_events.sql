-- Events: what the outbox holds, in each realm's own sequence without gaps.
--
-- Places are given by one writer at a time for each hash partition: whoever holds its row in `sequencers`. He takes all
-- rows of the outbox that are committed, in the order of their ids, and gives each realm's next `seq` to them; so no
-- number is given before its row can be seen, and none is given twice. A resource is changed under its lock, so whoever
-- sees a change sees those before it, and they have smaller ids.

-- Read by id, over all realms of a partition. Who deletes a realm deletes its rows here; one that comes later belongs to
-- nobody, and is dropped when its turn comes. That saves each change a look at the register of realms.
ALTER TABLE outbox
    DROP CONSTRAINT outbox_pkey,
    DROP CONSTRAINT outbox_realm_id_fkey,
    DROP COLUMN xid,
    -- What an event tells beside the document: of a user `state`, `display_name`, `groups`; of a membership the kind of
    -- `member`; of a role its name.
    ADD COLUMN facts jsonb,
    ADD PRIMARY KEY (id, realm_id);

-- The last number that each realm's events have, and the oldest one that is kept.
CREATE TABLE feeds (
    realm_id uuid   NOT NULL REFERENCES realms (id) ON DELETE CASCADE,
    seq      bigint NOT NULL,
    oldest   bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (realm_id)
) PARTITION BY HASH (realm_id);
CALL tenant_table('feeds');

CREATE TABLE events (
    realm_id    uuid        NOT NULL,
    seq         bigint      NOT NULL,
    -- The place among all events of the partition.
    place       bigint      NOT NULL,
    id          uuid        NOT NULL,
    event       text        NOT NULL,
    resource_id uuid        NOT NULL,
    version     bigint      NOT NULL,
    member_id   uuid,
    attributes  jsonb,
    previous    jsonb,
    facts       jsonb,
    actor       jsonb       NOT NULL,
    request_id  text        NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (realm_id, seq)
) PARTITION BY HASH (realm_id);
CREATE INDEX events_place ON events (place);
-- Times grow with places but for what takes long: blocks of them are enough, and cost a change next to nothing.
CREATE INDEX events_created_at ON events USING brin (created_at) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX events_resource ON events (realm_id, resource_id, seq) WHERE resource_id IS NOT NULL;
CALL tenant_table('events');

-- One row for each partition; to hold it is to be its sequencer.
CREATE TABLE sequencers (
    partition smallint PRIMARY KEY,
    -- The last place given.
    place     bigint   NOT NULL
);
INSERT INTO sequencers SELECT i, 0 FROM generate_series(0, 7) AS i;
GRANT SELECT, UPDATE ON sequencers TO realmgate_app;

-- Who gives places, and who reads the events of all realms for the operator, stands in no realm but over them, by this
-- setting alone; and sees no more than these three tables so. The partitions are read by name, which their parents'
-- policies do not cover.
CREATE FUNCTION oversee() RETURNS void LANGUAGE sql AS $$
    SELECT set_config('realmgate.oversees', 'on', true)
$$;
DO $$
DECLARE
    parent text;
BEGIN
    FOREACH parent IN ARRAY ARRAY['outbox', 'feeds', 'events'] LOOP
        EXECUTE format('CREATE POLICY overseen ON %I USING (current_setting(''realmgate.oversees'', true) = ''on'')', parent);
        FOR i IN 0..7 LOOP
            EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', parent || '_' || i);
            EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', parent || '_' || i);
            EXECUTE format('CREATE POLICY overseen ON %I USING (current_setting(''realmgate.oversees'', true) = ''on'')', parent || '_' || i);
            EXECUTE format('GRANT SELECT, INSERT, DELETE ON %I TO realmgate_app', parent || '_' || i);
        END LOOP;
    END LOOP;
    -- Rows come and go all the time: what is dead must not pile up.
    FOR i IN 0..7 LOOP
        EXECUTE format('ALTER TABLE %I SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000)', 'outbox_' || i);
        EXECUTE format('ALTER TABLE %I SET (fillfactor = 50)', 'feeds_' || i);
    END LOOP;
END $$;

-- Becomes the sequencer of a partition, after whoever is it.
CREATE FUNCTION enter_partition(number smallint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM oversee();
    PERFORM FROM sequencers WHERE partition = number FOR UPDATE;
END $$;

-- Which partition a realm's rows are in.
CREATE FUNCTION partition_of(realm uuid) RETURNS smallint LANGUAGE sql STABLE AS $$
    SELECT i::smallint FROM generate_series(0, 7) AS i
     WHERE satisfies_hash_partition('realmgate.outbox'::regclass, 8, i, realm)
$$;

-- What an event tells of a user beside the document.
CREATE FUNCTION user_facts(active boolean, activated_at timestamptz, display_name text, managed boolean, groups uuid[])
RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'state', CASE WHEN NOT active THEN 'disabled' WHEN activated_at IS NULL THEN 'shadow' ELSE 'active' END,
        'display_name', display_name, 'managed', managed, 'groups', coalesce(to_jsonb(groups), '[]'))
$$;
