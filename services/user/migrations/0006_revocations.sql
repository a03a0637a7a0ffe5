-- What was revoked or changed lately, so that access tokens, which outlive it by minutes, can be checked.
CREATE TABLE revocations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The id of a session, an API key or an account.
    credential text NOT NULL,
    time timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX revocations_by_time ON revocations (time);

-- A trigger, so that no statement that ends a session, now or later, can leave it out.
CREATE FUNCTION record_revocation() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO revocations (credential) VALUES (OLD.id);
    RETURN NULL;
END
$$;
CREATE TRIGGER record_revocation AFTER DELETE ON sessions
    FOR EACH ROW EXECUTE FUNCTION record_revocation();
CREATE TRIGGER record_revocation AFTER DELETE ON api_keys
    FOR EACH ROW EXECUTE FUNCTION record_revocation();
CREATE TRIGGER record_change AFTER UPDATE ON api_keys
    FOR EACH ROW WHEN (OLD.revoke_time IS DISTINCT FROM NEW.revoke_time OR OLD.roles IS DISTINCT FROM NEW.roles)
    EXECUTE FUNCTION record_revocation();
CREATE TRIGGER record_revocation AFTER DELETE ON accounts
    FOR EACH ROW EXECUTE FUNCTION record_revocation();
CREATE TRIGGER record_change AFTER UPDATE ON accounts
    FOR EACH ROW WHEN (OLD.disable_time IS DISTINCT FROM NEW.disable_time OR OLD.roles IS DISTINCT FROM NEW.roles)
    EXECUTE FUNCTION record_revocation();
