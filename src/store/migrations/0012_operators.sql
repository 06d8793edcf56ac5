-- What operators may do, service accounts beside people, sessions that were ended, and sign-ins that failed.

ALTER TABLE admins
    -- An operator without one cannot sign in by password.
    ALTER COLUMN password_hash DROP NOT NULL,
    -- Of a service account alone: the `client_id` of its client in `master`, which has the same id and holds its secret.
    ADD COLUMN client_id text,
    -- Raised when password or secret are set or all sessions are ended: tokens of an earlier epoch open nothing.
    ADD COLUMN epoch int NOT NULL DEFAULT 0;

-- `admin` and `create-realm` are roles in `master`; whatever else stands here is a right in the realm.
CREATE TABLE admin_roles (
    admin_id uuid NOT NULL REFERENCES admins (id) ON DELETE CASCADE,
    realm_id uuid NOT NULL REFERENCES realms (id) ON DELETE CASCADE,
    role     text NOT NULL,
    PRIMARY KEY (admin_id, realm_id, role)
);
CREATE INDEX admin_roles_realm ON admin_roles (realm_id, role);

-- Who could sign in until now could do everything.
INSERT INTO admin_roles SELECT a.id, r.id, 'admin' FROM admins a, realms r WHERE r.name = 'master';

-- As in 0007, with the role.
CREATE OR REPLACE FUNCTION found_admin(id uuid, username_key text, username text, password_hash text, enabled boolean,
                                       at timestamptz)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE admins IN SHARE ROW EXCLUSIVE MODE;
    INSERT INTO admins (id, username_key, username, password_hash, enabled, created_at)
    SELECT $1, $2, $3, $4, $5, $6 WHERE NOT EXISTS (SELECT FROM admins);
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO admin_roles SELECT $1, r.id, 'admin' FROM realms r WHERE r.name = 'master';
    RETURN true;
END $$;

-- Sessions that were ended before their tokens expired.
CREATE TABLE ended_sessions (
    admin_id   uuid        NOT NULL REFERENCES admins (id) ON DELETE CASCADE,
    -- The claim `sid`.
    session_id uuid        NOT NULL,
    -- When the last token of the session expires, and the row is of no use.
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (admin_id, session_id)
);
CREATE INDEX ended_sessions_expiry ON ended_sessions (expires_at);

-- Failed sign-ins, by operator. Names that nobody has share a few rows, so that refusing them is the same work.
CREATE TABLE login_failures (
    subject      uuid        PRIMARY KEY,
    failures     int         NOT NULL,
    last_at      timestamptz NOT NULL,
    locked_until timestamptz
);

GRANT SELECT, INSERT, UPDATE, DELETE ON admin_roles, ended_sessions, login_failures TO realmgate_app;
