-- What was fetched from other hosts for each of the videos that were asked for in the last day.
ALTER TABLE asked_videos ADD COLUMN fetched_bytes bigint NOT NULL DEFAULT 0;
