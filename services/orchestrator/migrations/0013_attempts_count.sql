-- Undoes 0012_released.sql: how many instances died with a job is counted in `attempts` instead.
ALTER TABLE jobs DROP COLUMN released;
