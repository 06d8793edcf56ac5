-- When the last token of a realm ends, and how many days before the realm was warned of it: kept with the register of
-- realms, so that one look finds those who are to be warned.

ALTER TABLE realms
    ADD COLUMN token_expires_at timestamptz,
    ADD COLUMN token_warned     int;
CREATE INDEX realms_token_expires_at ON realms (token_expires_at) WHERE token_expires_at IS NOT NULL;
