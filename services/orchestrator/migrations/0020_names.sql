-- One name for one thing, in tables as in the code. Records of former versions are renamed, too.

-- The request as the client sent it, the finished work of each stage, and the first estimate of the end.
ALTER TABLE jobs RENAME COLUMN wish TO original_request;
ALTER TABLE jobs RENAME COLUMN tally TO progress_details;
ALTER TABLE jobs RENAME COLUMN promised_time TO first_estimate;
ALTER INDEX jobs_begun RENAME TO jobs_claimed;
ALTER INDEX jobs_begun_by_user RENAME TO jobs_by_start;
ALTER INDEX jobs_unended_by_user RENAME TO jobs_unfinished_by_user;

-- The number of attempts to post an event.
ALTER TABLE deliveries RENAME COLUMN tries TO attempt_count;

-- Identifies an event among those of its job: an event with the same key is published once.
ALTER TABLE outbox RENAME COLUMN fact TO event_key;
ALTER INDEX outbox_facts RENAME TO outbox_event_keys;
ALTER INDEX outbox_unplaced RENAME TO outbox_without_position;

-- The start of the last comparison of the object store with the database.
ALTER TABLE passes RENAME TO reconciliations;
ALTER INDEX passes_pkey RENAME TO reconciliations_pkey;

ALTER TABLE asked_videos RENAME TO requested_videos;
ALTER INDEX asked_videos_pkey RENAME TO requested_videos_pkey;
ALTER INDEX asked_videos_by_user RENAME TO requested_videos_by_user;

UPDATE jobs SET progress_details = progress_details - ARRAY['segments', 'rendered', 'reused'] || jsonb_strip_nulls(
    jsonb_build_object(
        'segment_count', progress_details -> 'segments',
        'rendered_count', progress_details -> 'rendered',
        'reused_count', progress_details -> 'reused'
    )
) WHERE progress_details ? 'segments';

CREATE FUNCTION rename_key(document jsonb, former text, present text) RETURNS jsonb LANGUAGE sql AS
    $$ SELECT CASE WHEN document ? former
           THEN document - former || jsonb_build_object(present, document -> former) ELSE document END $$;

CREATE FUNCTION rename_clip(clip jsonb) RETURNS jsonb LANGUAGE sql AS
    $$ SELECT CASE WHEN jsonb_typeof(clip -> 'source') = 'object'
           THEN jsonb_set(rename_key(clip, 'look', 'style'), '{source}', rename_key(clip -> 'source', 'picture', 'properties'))
           ELSE rename_key(clip, 'look', 'style') END $$;

CREATE FUNCTION rename_clips(document jsonb) RETURNS jsonb LANGUAGE sql AS
    $$ SELECT jsonb_set(document, '{clips}', coalesce((
           SELECT jsonb_agg(rename_clip(clip) ORDER BY number)
           FROM jsonb_array_elements(document -> 'clips') WITH ORDINALITY AS each (clip, number)), '[]')) $$;

UPDATE jobs SET request = rename_clips(request) WHERE jsonb_array_length(request -> 'clips') > 0;

-- A clip of the request, the clips of a cut, or the image of an overlay.
UPDATE steps SET result = CASE
    WHEN result ? 'clips' THEN rename_clips(result)
    ELSE rename_key(rename_clip(result), 'picture', 'properties')
END WHERE name LIKE 'validate %';
UPDATE steps SET result = rename_key(result, 'reused', 'is_reused') WHERE name LIKE 'render %' OR name LIKE 'join %';

DROP FUNCTION rename_clips, rename_clip, rename_key;

-- PostgreSQL 18 names these constraints, after tables and columns as they were.
DO $$
DECLARE
    former record;
BEGIN
    FOR former IN
        SELECT relname, conname, relname || '_' || attname || '_not_null' AS present
        FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
            JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1]
        WHERE contype = 'n' AND connamespace = current_schema()::regnamespace
    LOOP
        IF former.conname <> former.present THEN
            EXECUTE format('ALTER TABLE %I RENAME CONSTRAINT %I TO %I', former.relname, former.conname, former.present);
        END IF;
    END LOOP;
END
$$;
