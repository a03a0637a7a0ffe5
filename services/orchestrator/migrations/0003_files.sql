-- How much of the work is done, and the files of a result by their names.
ALTER TABLE jobs ADD COLUMN tally jsonb NOT NULL DEFAULT '{}';

UPDATE jobs SET result = jsonb_build_object(
    'seconds', result -> 'seconds',
    'files', jsonb_build_array(
        jsonb_build_object('name', 'video.mp4', 'object', result -> 'video'),
        jsonb_build_object('name', 'poster.jpg', 'object', result -> 'poster'),
        jsonb_build_object('name', 'thumbnails.jpg', 'object', result -> 'thumbnails'),
        jsonb_build_object('name', 'captions.srt', 'object', result -> 'srt'),
        jsonb_build_object('name', 'captions.vtt', 'object', result -> 'vtt'),
        jsonb_build_object('name', 'captions.ass', 'object', result -> 'ass')
    )
) WHERE result IS NOT NULL;

-- What jobs in progress have done is found again by its content, in the form that is now recorded.
DELETE FROM steps;
