-- Signed links to the files of videos. A link is valid while its row exists; its signature is not stored.
CREATE TABLE links (
    id text PRIMARY KEY,
    job_id text NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    user_id text NOT NULL,
    expire_time timestamptz NOT NULL
);
CREATE INDEX links_job ON links (job_id, expire_time);
