-- Operators of the `master` realm, and the public keys by which every node knows the access tokens of every other.

CREATE TABLE admins (
    id            uuid        PRIMARY KEY,
    username_key  text        NOT NULL UNIQUE,
    username      text        NOT NULL,
    -- Argon2id in PHC form.
    password_hash text        NOT NULL,
    enabled       boolean     NOT NULL,
    created_at    timestamptz NOT NULL
);

-- Makes the first operator, or answers false if there is one. The lock lets one node in at a time, and the INSERT
-- looks only when it is held: a single statement would still see the table as it was before the wait.
CREATE FUNCTION found_admin(id uuid, username_key text, username text, password_hash text, enabled boolean, at timestamptz)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE admins IN SHARE ROW EXCLUSIVE MODE;
    INSERT INTO admins SELECT $1, $2, $3, $4, $5, $6 WHERE NOT EXISTS (SELECT FROM admins);
    RETURN FOUND;
END $$;

-- A node signs with a key that never leaves its memory; what stands here verifies and cannot sign.
CREATE TABLE signing_keys (
    kid        uuid        PRIMARY KEY,
    -- P-256, uncompressed point.
    public_key bytea       NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);

GRANT SELECT, INSERT, UPDATE, DELETE ON admins, signing_keys TO realmgate_app;
