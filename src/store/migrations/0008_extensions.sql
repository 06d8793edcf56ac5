-- A realm's own extension schemas (RFC 7643 §3.3), in the order in which they came, and the key of its cursors.

ALTER TABLE realms
    ADD COLUMN extensions jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN cursor_key bytea NOT NULL DEFAULT sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8'));
