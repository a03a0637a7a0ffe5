-- What providers charge for jobs. It stays when a job is deleted.
CREATE TABLE costs (
    job_id text PRIMARY KEY,
    user_id text NOT NULL,
    -- The most that the job may cost; it counts until the job has ended.
    reserved double precision NOT NULL DEFAULT 0,
    spent double precision NOT NULL DEFAULT 0,
    create_time timestamptz NOT NULL
);
CREATE INDEX costs_by_user ON costs (user_id, create_time);

-- The limits of accounts that administrators set, for a month.
CREATE TABLE cost_limits (
    user_id text PRIMARY KEY,
    month double precision NOT NULL
);
