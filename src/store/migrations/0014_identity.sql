-- Whose word a realm takes beside that of its static tokens: sign-in settings and foreign issuers (one document, as
-- `model::identity` has it), and clients of the token endpoint. A client of `master` is a service account of operators.

ALTER TABLE realms ADD COLUMN identity jsonb NOT NULL DEFAULT '{}';

CREATE TABLE oauth_clients (
    realm_id      uuid        NOT NULL REFERENCES realms (id) ON DELETE CASCADE,
    id            uuid        NOT NULL,
    -- `client_id` of RFC 6749.
    client_id     text        COLLATE "C" NOT NULL,
    name          text,
    enabled       boolean     NOT NULL,
    -- `client_secret` or `private_key_jwt`.
    method        text        NOT NULL,
    -- What proves the secret: SHA-256 of one that we made, Argon2id (PHC) of one that somebody chose.
    secret_sha256 bytea,
    secret_argon2 text,
    -- Where the public keys are: a JWK Set, or the URL of one.
    jwks          text,
    jwks_uri      text,
    created_at    timestamptz NOT NULL,
    last_used_at  timestamptz,
    PRIMARY KEY (realm_id, id),
    CHECK (num_nonnulls(secret_sha256, secret_argon2) <= 1 AND num_nonnulls(jwks, jwks_uri) <= 1)
) PARTITION BY HASH (realm_id);
-- Partial for the reason told at `users`.
CREATE UNIQUE INDEX oauth_clients_client_id ON oauth_clients (realm_id, client_id) WHERE client_id IS NOT NULL;
CALL tenant_table('oauth_clients');
