-- The review for which a job waits, with what is reviewed; null: it does not wait. A job that waits is not claimed.
ALTER TABLE jobs ADD COLUMN review jsonb;
-- When a waiting job fails unless it is approved.
ALTER TABLE jobs ADD COLUMN review_expire_time timestamptz;
CREATE INDEX jobs_in_review ON jobs (review_expire_time) WHERE review IS NOT NULL;
-- For how long the job has waited in reviews that were approved.
ALTER TABLE jobs ADD COLUMN review_seconds double precision NOT NULL DEFAULT 0;
