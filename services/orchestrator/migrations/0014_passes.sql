-- When an instance last began to compare the files in the store with what is recorded here, which one does at a time.
CREATE TABLE passes (
    name text PRIMARY KEY,
    begin_time timestamptz NOT NULL
);
