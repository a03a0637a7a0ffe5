-- The audit trail. It is only ever added to, and kept for good.

CREATE TABLE audit_records (
    -- From 1 on, without gaps.
    number bigint PRIMARY KEY,
    id text NOT NULL UNIQUE,
    time timestamptz NOT NULL,
    service text NOT NULL,
    action text NOT NULL,
    actor text NOT NULL,
    credential text NOT NULL,
    peer text NOT NULL,
    target text NOT NULL,
    result text NOT NULL,
    address text NOT NULL,
    trace_id text NOT NULL,
    method text NOT NULL,
    details jsonb NOT NULL,
    -- SHA-256 over the former record's hash and this record, and an HMAC of it with a key that is not in the database.
    hash bytea NOT NULL,
    seal bytea NOT NULL
);
CREATE INDEX audit_records_by_actor ON audit_records (actor, number);
CREATE INDEX audit_records_by_target ON audit_records (target, number);
CREATE INDEX audit_records_by_action ON audit_records (action text_pattern_ops, number);
-- Their numbers and times grow together, or nearly so: a few pages of index for all of them.
CREATE INDEX audit_records_by_time ON audit_records USING brin (time);

CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is only ever added to' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER audit_records_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_records
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();

-- The service's own role among them. As the table's owner it could take this back, and the trigger away; what it
-- did then would break the chain.
REVOKE ALL ON audit_records FROM PUBLIC, CURRENT_USER;
GRANT SELECT, INSERT ON audit_records TO CURRENT_USER;
