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

-- A node signs with a key that never leaves its memory; what stands here verifies and cannot sign.
CREATE TABLE signing_keys (
    kid        text        PRIMARY KEY,
    public_key bytea       NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);

GRANT SELECT, INSERT, UPDATE, DELETE ON admins, signing_keys TO realmgate_app;
