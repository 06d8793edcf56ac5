-- Users: one row each, the IdP's document in `attributes`, and beside it what is looked up, folded as
-- `scim::resource::fold` does.

CREATE TABLE users (
    realm_id         uuid        NOT NULL REFERENCES realms (id) ON DELETE CASCADE,
    id               uuid        NOT NULL,
    version          bigint      NOT NULL,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    -- What the IdP says, and whether the first sign-in has happened: together the state.
    active           boolean     NOT NULL,
    activated_at     timestamptz,
    user_name_key    text        NOT NULL,
    external_id      text,
    display_name_key text,
    -- The application's own display name; SCIM answers the one in `attributes`.
    display_name     text,
    attributes       jsonb       NOT NULL,
    -- The document as filters compare it, where that is not the document itself; see `scim::filter::comparable`.
    comparable       jsonb,
    PRIMARY KEY (realm_id, id)
) PARTITION BY HASH (realm_id);
-- All but the primary key are partial, though nothing is left out. On a table that has not been analyzed yet, every index
-- which begins with the realm looks as good as the right one for `realm_id = $1 AND id = $2`, the latest made wins, and
-- each check of a foreign key then walks the realm. An index with a predicate serves only who speaks of its column.
CREATE UNIQUE INDEX users_user_name ON users (realm_id, user_name_key) WHERE user_name_key IS NOT NULL;
CREATE INDEX users_external_id ON users (realm_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX users_display_name ON users (realm_id, display_name_key) WHERE display_name_key IS NOT NULL;
CREATE INDEX users_updated_at ON users (realm_id, updated_at) WHERE updated_at IS NOT NULL;
CALL tenant_table('users');

-- A btree a value, because operators on arrays and documents are not leakproof and so cannot use an index beneath
-- row-level security.
CREATE TABLE user_emails (
    realm_id  uuid NOT NULL,
    email_key text NOT NULL,
    user_id   uuid NOT NULL,
    PRIMARY KEY (realm_id, user_id, email_key),
    FOREIGN KEY (realm_id, user_id) REFERENCES users (realm_id, id) ON DELETE CASCADE
) PARTITION BY HASH (realm_id);
CREATE INDEX user_emails_email ON user_emails (realm_id, email_key) WHERE email_key IS NOT NULL;
CALL tenant_table('user_emails');

CREATE TABLE user_roles (
    realm_id   uuid        NOT NULL,
    user_id    uuid        NOT NULL,
    role_id    uuid        NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (realm_id, user_id, role_id),
    FOREIGN KEY (realm_id, user_id) REFERENCES users (realm_id, id) ON DELETE CASCADE,
    FOREIGN KEY (realm_id, role_id) REFERENCES roles (realm_id, id)
) PARTITION BY HASH (realm_id);
CREATE INDEX user_roles_role ON user_roles (realm_id, role_id) WHERE role_id IS NOT NULL;
CALL tenant_table('user_roles');
