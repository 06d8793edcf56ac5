-- Groups, and membership as rows: adding one member costs the same in a group of ten and of a million.

CREATE TABLE groups (
    realm_id         uuid        NOT NULL REFERENCES realms (id) ON DELETE CASCADE,
    id               uuid        NOT NULL,
    version          bigint      NOT NULL,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    display_name_key text        NOT NULL,
    -- Equal to `display_name_key` where the realm's policy wants unique names, else null.
    unique_name      text,
    external_id      text,
    attributes       jsonb       NOT NULL,
    -- The document as filters compare it, where that is not the document itself; see `scim::filter::comparable`.
    comparable       jsonb,
    PRIMARY KEY (realm_id, id)
) PARTITION BY HASH (realm_id);
-- Partial for the reason told at `users`.
CREATE UNIQUE INDEX groups_unique_name ON groups (realm_id, unique_name) WHERE unique_name IS NOT NULL;
CREATE INDEX groups_external_id ON groups (realm_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX groups_display_name ON groups (realm_id, display_name_key) WHERE display_name_key IS NOT NULL;
CREATE INDEX groups_updated_at ON groups (realm_id, updated_at) WHERE updated_at IS NOT NULL;
CALL tenant_table('groups');

-- A member is a user or a nested group; `member_id` is the id of either, and one of the two references holds it.
CREATE TABLE group_members (
    realm_id   uuid        NOT NULL,
    group_id   uuid        NOT NULL,
    member_id  uuid        NOT NULL,
    user_id    uuid,
    nested_id  uuid,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (realm_id, group_id, member_id),
    FOREIGN KEY (realm_id, group_id) REFERENCES groups (realm_id, id) ON DELETE CASCADE,
    FOREIGN KEY (realm_id, user_id) REFERENCES users (realm_id, id) ON DELETE CASCADE,
    FOREIGN KEY (realm_id, nested_id) REFERENCES groups (realm_id, id) ON DELETE CASCADE,
    CHECK (member_id = coalesce(user_id, nested_id) AND num_nonnulls(user_id, nested_id) = 1)
) PARTITION BY HASH (realm_id);
CREATE INDEX group_members_user ON group_members (realm_id, user_id) WHERE user_id IS NOT NULL;
CREATE INDEX group_members_nested ON group_members (realm_id, nested_id) WHERE nested_id IS NOT NULL;
CALL tenant_table('group_members');

-- What a deleted user or group was, where the realm's policy keeps it.
CREATE TABLE tombstones (
    realm_id      uuid        NOT NULL REFERENCES realms (id) ON DELETE CASCADE,
    resource_type text        NOT NULL,
    id            uuid        NOT NULL,
    version       bigint      NOT NULL,
    created_at    timestamptz NOT NULL,
    deleted_at    timestamptz NOT NULL,
    attributes    jsonb       NOT NULL,
    PRIMARY KEY (realm_id, resource_type, id)
) PARTITION BY HASH (realm_id);
CALL tenant_table('tombstones');
