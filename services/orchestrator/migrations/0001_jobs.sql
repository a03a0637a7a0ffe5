-- Jobs, what their steps gave, what is to be published, and uploaded assets.

CREATE TABLE jobs (
    id text PRIMARY KEY,
    user_id text NOT NULL,
    title text NOT NULL,
    request jsonb NOT NULL,
    status text NOT NULL CHECK (status IN ('processing', 'completed', 'failed')),
    -- Stage by stage: pending, in_progress, completed or failed.
    stages jsonb NOT NULL,
    progress integer NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 100),
    -- The fencing token: grows each time an instance takes the job up; an instance writes only under its own.
    attempt integer NOT NULL DEFAULT 0,
    heartbeat_time timestamptz NOT NULL,
    create_time timestamptz NOT NULL,
    start_time timestamptz,
    end_time timestamptz,
    estimated_completion timestamptz NOT NULL,
    result jsonb,
    error jsonb
);
CREATE INDEX jobs_by_user ON jobs (user_id, create_time DESC, id DESC);
CREATE INDEX jobs_active ON jobs (heartbeat_time) WHERE status = 'processing';

-- What a step gave is recorded before the next begins; a job that is taken up again skips what is here.
CREATE TABLE steps (
    job_id text NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    name text NOT NULL,
    result jsonb NOT NULL,
    finish_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, name)
);

-- Written with the state change that it tells of, published until it is acknowledged.
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id text NOT NULL UNIQUE,
    subject text NOT NULL,
    payload bytea NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    publish_time timestamptz
);
CREATE INDEX outbox_pending ON outbox (id) WHERE publish_time IS NULL;

CREATE TABLE assets (
    id text PRIMARY KEY,
    user_id text NOT NULL,
    filename text NOT NULL,
    object jsonb NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX assets_by_user ON assets (user_id, create_time DESC);
