-- Lists are sorted by bytes (`scim::sort`), whatever the database's locale; so that the indexes can serve that, their
-- columns are too. Equality, all that they served so far, stays what it is.

ALTER TABLE users
    ALTER COLUMN user_name_key TYPE text COLLATE "C",
    ALTER COLUMN external_id TYPE text COLLATE "C",
    ALTER COLUMN display_name_key TYPE text COLLATE "C";

ALTER TABLE groups
    ALTER COLUMN display_name_key TYPE text COLLATE "C",
    ALTER COLUMN external_id TYPE text COLLATE "C";
