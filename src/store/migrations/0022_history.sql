-- What took access from a user, and when an application said that it knows. Written by the sequencer with the event,
-- kept for as long as that.
CREATE TABLE revocations (
    realm_id        uuid        NOT NULL,
    -- Of the event which tells of it.
    seq             bigint      NOT NULL,
    place           bigint      NOT NULL,
    user_id         uuid        NOT NULL,
    -- When the request came in which took the access.
    requested_at    timestamptz NOT NULL,
    acknowledged_at timestamptz,
    -- `events_api`, or `webhook:` and its id.
    acknowledged_by text,
    -- Was it told that the policy's bound has passed without an acknowledgement?
    late            boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (realm_id, seq)
) PARTITION BY HASH (realm_id);
CREATE INDEX revocations_open ON revocations (realm_id, seq) WHERE acknowledged_at IS NULL;
CREATE INDEX revocations_open_place ON revocations (place) WHERE acknowledged_at IS NULL;
CREATE INDEX revocations_due ON revocations (realm_id, requested_at) WHERE acknowledged_at IS NULL AND NOT late;
CALL tenant_table('revocations');

-- As the events themselves, they are written for all realms of a partition at once, and acknowledged wherever a reader
-- of events stands.
CREATE POLICY overseen ON revocations USING (current_setting('realmgate.oversees', true) = 'on');
DO $$
BEGIN
    FOR i IN 0..7 LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', 'revocations_' || i);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', 'revocations_' || i);
        EXECUTE format('CREATE POLICY overseen ON %I USING (current_setting(''realmgate.oversees'', true) = ''on'')', 'revocations_' || i);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I TO realmgate_app', 'revocations_' || i);
    END LOOP;
END $$;

-- Looked through every second by every node: only realms which have a bound are in it.
CREATE INDEX realms_revoke_within ON realms (id) WHERE policy ->> 'revoke_within' IS NOT NULL;

-- The memberships in the history of a user. Only events of memberships and of role mappings are in it.
CREATE INDEX events_member ON events (realm_id, member_id, seq) WHERE member_id IS NOT NULL;
