-- Groups carry roles, each mapping and membership tells where it came from, and users and groups are the IdP's or an
-- operator's own.

-- Kept in step over SCIM, which sees nothing else; or made by an operator.
ALTER TABLE users ADD COLUMN managed boolean NOT NULL DEFAULT true;
ALTER TABLE groups ADD COLUMN managed boolean NOT NULL DEFAULT true;
-- The few of another kind, to be counted apart: so SCIM's `totalResults` is still read from the primary key alone.
CREATE INDEX users_local ON users (realm_id, id) WHERE NOT managed;
CREATE INDEX groups_local ON groups (realm_id, id) WHERE NOT managed;

-- What operators search by: prefixes of names and addresses, compared by bytes. Folded as `scim::resource::fold` does,
-- since `comparable` is that wherever lowering ASCII letters is not enough. Columns rather than indexes over
-- expressions, which row-level security would not let a client's text reach.
ALTER TABLE users
    ADD COLUMN first_name_key text COLLATE "C" GENERATED ALWAYS AS
        (nullif(left(lower((coalesce(comparable, attributes) #>> '{name,givenName}') COLLATE "C"), 256), '')) STORED,
    ADD COLUMN last_name_key text COLLATE "C" GENERATED ALWAYS AS
        (nullif(left(lower((coalesce(comparable, attributes) #>> '{name,familyName}') COLLATE "C"), 256), '')) STORED;
CREATE INDEX users_first_name ON users (realm_id, first_name_key) WHERE first_name_key IS NOT NULL;
CREATE INDEX users_last_name ON users (realm_id, last_name_key) WHERE last_name_key IS NOT NULL;
ALTER TABLE user_emails ALTER COLUMN email_key TYPE text COLLATE "C";

-- Whose request put it there; unknown of what is older than this.
ALTER TABLE group_members ADD COLUMN actor jsonb, ADD COLUMN request_id text;
ALTER TABLE user_roles ADD COLUMN actor jsonb, ADD COLUMN request_id text;
-- The users of a role are read page by page, in the order of their ids.
DROP INDEX user_roles_role;
CREATE INDEX user_roles_role ON user_roles (realm_id, role_id, user_id) WHERE role_id IS NOT NULL;

CREATE TABLE group_roles (
    realm_id   uuid        NOT NULL,
    group_id   uuid        NOT NULL,
    role_id    uuid        NOT NULL,
    created_at timestamptz NOT NULL,
    actor      jsonb,
    request_id text,
    PRIMARY KEY (realm_id, group_id, role_id),
    FOREIGN KEY (realm_id, group_id) REFERENCES groups (realm_id, id) ON DELETE CASCADE,
    FOREIGN KEY (realm_id, role_id) REFERENCES roles (realm_id, id)
) PARTITION BY HASH (realm_id);
-- Partial for the reason told at `users`.
CREATE INDEX group_roles_role ON group_roles (realm_id, role_id, group_id) WHERE role_id IS NOT NULL;
CALL tenant_table('group_roles');
