-- The request as the caller wrote it, so that it can be made again with changes.
ALTER TABLE jobs ADD COLUMN wish jsonb NOT NULL DEFAULT '{}';
