-- Events in an order that can be followed, and webhooks, to which they are posted.

-- How many events of the job have been written: the sequence number of the last one.
ALTER TABLE jobs ADD COLUMN event_sequence integer NOT NULL DEFAULT 0;
-- Where the events of this job are posted as well.
ALTER TABLE jobs ADD COLUMN webhook_url text NOT NULL DEFAULT '';

-- Of a message that is an event: whose it is; null in one that is none.
ALTER TABLE outbox ADD COLUMN user_id text;
ALTER TABLE outbox ADD COLUMN job_id text;
ALTER TABLE outbox ADD COLUMN sequence integer;
-- What it tells of: what was told is not told again, should whoever wrote it not know that it did.
ALTER TABLE outbox ADD COLUMN fact text;
-- Where it stands among all events that were committed; null until that is known.
ALTER TABLE outbox ADD COLUMN position bigint;
CREATE SEQUENCE feed_positions;
CREATE UNIQUE INDEX outbox_facts ON outbox (job_id, fact) WHERE fact IS NOT NULL;
CREATE INDEX outbox_unplaced ON outbox (id) WHERE position IS NULL AND user_id IS NOT NULL;
CREATE UNIQUE INDEX outbox_feed ON outbox (user_id, position) WHERE position IS NOT NULL;

-- How far those who follow the events have come, by names that they give themselves.
CREATE TABLE consumers (
    user_id text NOT NULL,
    name text NOT NULL,
    position bigint NOT NULL,
    update_time timestamptz NOT NULL,
    PRIMARY KEY (user_id, name)
);

-- Secrets are not here: they are made of a key that the config service keeps, the id and the version.
CREATE TABLE webhooks (
    id text PRIMARY KEY,
    user_id text NOT NULL,
    -- Empty: for single jobs, which say where.
    url text NOT NULL,
    -- Empty: all.
    event_types text[] NOT NULL,
    secret_version integer NOT NULL DEFAULT 1,
    -- When the secret was changed; for a while the one before is good too.
    rotate_time timestamptz,
    create_time timestamptz NOT NULL,
    -- When it answered that it is gone for good; null: it is in use.
    disable_time timestamptz
);
CREATE INDEX webhooks_by_user ON webhooks (user_id, create_time DESC, id DESC);
CREATE UNIQUE INDEX webhooks_for_jobs ON webhooks (user_id) WHERE url = '';

CREATE TABLE deliveries (
    id text PRIMARY KEY,
    webhook_id text NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    event bigint NOT NULL REFERENCES outbox (id) ON DELETE CASCADE,
    user_id text NOT NULL,
    url text NOT NULL,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'failed', 'gone')),
    -- The fencing token: grows each time that an instance takes it up to post it.
    claim integer NOT NULL DEFAULT 0,
    -- How often it was posted, and what came of it each time.
    tries integer NOT NULL DEFAULT 0,
    history jsonb NOT NULL DEFAULT '[]',
    create_time timestamptz NOT NULL,
    -- When it is posted next; while it is posted, when another instance may do so because that one died.
    due_time timestamptz NOT NULL,
    give_up_time timestamptz NOT NULL,
    UNIQUE (webhook_id, event)
);
CREATE INDEX deliveries_due ON deliveries (due_time) WHERE status = 'pending';
CREATE INDEX deliveries_by_event ON deliveries (event);
CREATE INDEX deliveries_by_user ON deliveries (user_id, create_time DESC, id DESC);
