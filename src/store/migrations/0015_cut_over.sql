-- What lets an IdP come over from another product without being told: tokens of which only that product's hash is known,
-- and the paths which its URLs have there.

-- `hash` is SHA-256 or SHA-512 of the token and is looked up; `phc` is a slow hash, which is compared.
ALTER TABLE scim_tokens
    ALTER COLUMN hash DROP NOT NULL,
    ADD COLUMN format text NOT NULL DEFAULT 'realmgate',
    ADD COLUMN phc    text,
    ADD COLUMN label  text,
    ADD CONSTRAINT scim_tokens_one_hash CHECK (num_nonnulls(hash, phc) = 1);

-- Does the realm hold tokens of another product? Known with the realm, so that garbage needs no look-up in any other.
ALTER TABLE realms ADD COLUMN foreign_tokens boolean NOT NULL DEFAULT false;

-- Part of the register of tenants, as domains are: a request's path is looked for before its realm is known.
CREATE TABLE realm_aliases (
    path       text        COLLATE "C" PRIMARY KEY,
    realm_id   uuid        NOT NULL REFERENCES realms (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL
);
CREATE INDEX realm_aliases_realm ON realm_aliases (realm_id);

GRANT SELECT, INSERT, UPDATE, DELETE ON realm_aliases TO realmgate_app;
