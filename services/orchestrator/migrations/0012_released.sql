-- How many attempts, since the owner last had the job begun again, were given back by an instance that was stopped.
ALTER TABLE jobs ADD COLUMN released integer NOT NULL DEFAULT 0;
