-- What a job was expected to take when nothing else runs, in seconds, and when it was first said to end.
ALTER TABLE jobs ADD COLUMN work_seconds double precision NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN promised_time timestamptz;
-- The latest that were completed say how long the next ones take.
CREATE INDEX jobs_completed ON jobs (end_time DESC) WHERE status = 'completed';

-- What an account has chosen for all its videos.
CREATE TABLE settings (
    user_id text PRIMARY KEY,
    -- How long its videos and uploads are kept; 0: until they are deleted.
    retention_days integer NOT NULL CHECK (retention_days BETWEEN 0 AND 3650)
);
CREATE INDEX jobs_ended ON jobs (user_id, end_time) WHERE end_time IS NOT NULL AND delete_time IS NULL;
