-- The videos of one request in several languages.
ALTER TABLE jobs ADD COLUMN group_id text;
CREATE INDEX jobs_by_group ON jobs (group_id) WHERE group_id IS NOT NULL;

-- What the jobs of a group share.
CREATE TABLE shared_steps (
    group_id text NOT NULL,
    name text NOT NULL,
    -- The job that makes it, or has made it, and its attempt.
    job_id text NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    attempt integer NOT NULL,
    -- Null: it is being made.
    result jsonb,
    PRIMARY KEY (group_id, name)
);
CREATE INDEX shared_steps_by_job ON shared_steps (job_id);
