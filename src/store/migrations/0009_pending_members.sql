-- Members whom a group was told of before the realm knew them, under the policy `unknown_members: pending`. `value` is
-- what the IdP named them by: an id, or the `externalId` of a user who is yet to come.

CREATE TABLE pending_members (
    realm_id   uuid        NOT NULL,
    group_id   uuid        NOT NULL,
    value      text        NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (realm_id, group_id, value),
    FOREIGN KEY (realm_id, group_id) REFERENCES groups (realm_id, id) ON DELETE CASCADE
) PARTITION BY HASH (realm_id);
-- Partial for the reason told at `users`.
CREATE INDEX pending_members_value ON pending_members (realm_id, value) WHERE value IS NOT NULL;
CALL tenant_table('pending_members');
