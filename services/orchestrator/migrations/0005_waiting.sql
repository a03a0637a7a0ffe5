-- The jobs that nobody has begun, in the order in which they are taken: an instance looks at the first of each user.
CREATE INDEX jobs_waiting ON jobs ((-priority), user_id, create_time, id)
    WHERE status = 'processing' AND attempt = base_attempt;
-- Those that are worked on, or were.
CREATE INDEX jobs_begun ON jobs (heartbeat_time) WHERE status = 'processing' AND attempt > base_attempt;
