-- What each account uses, kept by the database itself, so that no way of writing can forget it.
CREATE TABLE usage (
    user_id text PRIMARY KEY,
    -- Of uploads, and of the files of finished videos.
    bytes bigint NOT NULL DEFAULT 0,
    -- Uploads and finished videos.
    files integer NOT NULL DEFAULT 0
);

-- Room for uploads that are under way, so that several together do not pass a limit that each of them keeps.
CREATE TABLE reservations (
    -- The upload.
    id text PRIMARY KEY,
    user_id text NOT NULL,
    bytes bigint NOT NULL,
    -- When it is void, should its upload have died.
    expire_time timestamptz NOT NULL
);
CREATE INDEX reservations_by_user ON reservations (user_id);

-- The length of the videos that were asked for in the last day, whatever became of them.
CREATE TABLE asked_videos (
    job_id text PRIMARY KEY,
    user_id text NOT NULL,
    -- As expected, and once it is finished, as it is.
    seconds double precision NOT NULL,
    create_time timestamptz NOT NULL
);
CREATE INDEX asked_videos_by_user ON asked_videos (user_id, create_time);

CREATE INDEX jobs_unended_by_user ON jobs (user_id) WHERE status = 'processing';

CREATE FUNCTION result_bytes(result jsonb) RETURNS bigint LANGUAGE sql IMMUTABLE AS
    $$ SELECT coalesce(sum((file -> 'object' ->> 'size_bytes')::bigint), 0)::bigint
       FROM jsonb_array_elements(result -> 'files') AS file $$;

CREATE FUNCTION add_usage(account text, more_bytes bigint, more_files integer) RETURNS void LANGUAGE sql AS
    $$ INSERT INTO usage (user_id, bytes, files) VALUES (account, more_bytes, more_files)
       ON CONFLICT (user_id) DO UPDATE SET bytes = usage.bytes + excluded.bytes, files = usage.files + excluded.files $$;

CREATE FUNCTION count_asset() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM add_usage(NEW.user_id, (NEW.object ->> 'size_bytes')::bigint, 1);
    ELSE
        PERFORM add_usage(OLD.user_id, -(OLD.object ->> 'size_bytes')::bigint, -1);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER count_asset AFTER INSERT OR DELETE ON assets FOR EACH ROW EXECUTE FUNCTION count_asset();

-- A deleted video is not counted any more, though its files go a moment later.
CREATE FUNCTION count_video() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.result IS NOT NULL AND OLD.delete_time IS NULL THEN
        PERFORM add_usage(OLD.user_id, -result_bytes(OLD.result), -1);
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.result IS NOT NULL AND NEW.delete_time IS NULL THEN
        PERFORM add_usage(NEW.user_id, result_bytes(NEW.result), 1);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER count_video AFTER UPDATE OF result, delete_time ON jobs FOR EACH ROW EXECUTE FUNCTION count_video();
CREATE TRIGGER count_removed_video AFTER DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION count_video();

INSERT INTO usage (user_id, bytes, files)
SELECT user_id, sum(bytes), count(*) FROM (
    SELECT user_id, (object ->> 'size_bytes')::bigint AS bytes FROM assets
    UNION ALL
    SELECT user_id, result_bytes(result) FROM jobs WHERE result IS NOT NULL AND delete_time IS NULL
) AS files GROUP BY user_id;
