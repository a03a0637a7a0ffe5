-- When each user's last turn was.
CREATE INDEX jobs_begun_by_user ON jobs (user_id, start_time DESC) WHERE start_time IS NOT NULL;
