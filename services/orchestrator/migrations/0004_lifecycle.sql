-- How a job's life can end early, and what is left to clear away then.
ALTER TABLE jobs DROP CONSTRAINT jobs_status_check;
ALTER TABLE jobs ADD CONSTRAINT jobs_status_check
    CHECK (status IN ('processing', 'completed', 'failed', 'cancelled'));
-- When the files of a job that made no video, or that was deleted, are to be removed; null: there are none to remove.
ALTER TABLE jobs ADD COLUMN sweep_time timestamptz;
CREATE INDEX jobs_to_sweep ON jobs (sweep_time) WHERE sweep_time IS NOT NULL;

-- A deleted job is not seen any more; its record goes with its files.
ALTER TABLE jobs ADD COLUMN delete_time timestamptz;
-- The attempt after which the job was begun again by its owner; 0: it was not.
ALTER TABLE jobs ADD COLUMN base_attempt integer NOT NULL DEFAULT 0;
-- 0: low, 1: normal, 2: high. Jobs are taken in this order, and among those of one priority the users take turns.
ALTER TABLE jobs ADD COLUMN priority smallint NOT NULL DEFAULT 1 CHECK (priority BETWEEN 0 AND 2);

-- Requests that carried a key: the same key is given the same answer for a day.
CREATE TABLE request_keys (
    user_id text NOT NULL,
    key text NOT NULL,
    request_sha256 text NOT NULL,
    -- The answer. It outlives the job, should that be deleted.
    job_id text NOT NULL,
    estimated_completion timestamptz NOT NULL,
    create_time timestamptz NOT NULL,
    PRIMARY KEY (user_id, key)
);
CREATE INDEX request_keys_by_age ON request_keys (create_time);

-- Each time that an instance worked on a job.
CREATE TABLE attempts (
    job_id text NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    attempt integer NOT NULL,
    start_time timestamptz NOT NULL,
    -- Null while it works, and for good when it died.
    end_time timestamptz,
    outcome text CHECK (outcome IN ('completed', 'failed', 'cancelled', 'released')),
    error jsonb,
    PRIMARY KEY (job_id, attempt)
);

-- What failed for good, with what was tried until then.
CREATE TABLE dead_letters (
    job_id text NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    attempt integer NOT NULL,
    user_id text NOT NULL,
    title text NOT NULL,
    error jsonb NOT NULL,
    history jsonb NOT NULL,
    create_time timestamptz NOT NULL,
    -- When its owner retried or deleted the job; null: it waits for that.
    retry_time timestamptz,
    PRIMARY KEY (job_id, attempt)
);
CREATE INDEX dead_letters_by_user ON dead_letters (user_id, create_time DESC, job_id DESC) WHERE retry_time IS NULL;
