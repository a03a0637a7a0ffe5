-- One name for one thing, in tables as in the code.

-- When the password was last entered in the session.
ALTER TABLE sessions RENAME COLUMN proof_time TO reauthentication_time;
ALTER INDEX refresh_tokens_by_family RENAME TO refresh_tokens_by_session;
-- The secret of one-time passwords, encrypted.
ALTER TABLE totp_factors RENAME COLUMN sealed TO encrypted_secret;
-- The HMAC of the record's hash.
ALTER TABLE audit_records RENAME COLUMN seal TO hmac;

-- PostgreSQL 18 names these constraints, after tables and columns as they were.
DO $$
DECLARE
    former record;
BEGIN
    FOR former IN
        SELECT relname, conname, relname || '_' || attname || '_not_null' AS present
        FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
            JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1]
        WHERE contype = 'n' AND connamespace = current_schema()::regnamespace
    LOOP
        IF former.conname <> former.present THEN
            EXECUTE format('ALTER TABLE %I RENAME CONSTRAINT %I TO %I', former.relname, former.conname, former.present);
        END IF;
    END LOOP;
END
$$;
