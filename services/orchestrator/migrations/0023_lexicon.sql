-- What is spoken for words in all videos of an account: a list of term, pronunciation and language.
ALTER TABLE settings ADD COLUMN lexicon jsonb NOT NULL DEFAULT '[]';
-- An account may have a lexicon without a retention of its own; null: that of the deployment.
ALTER TABLE settings ALTER COLUMN retention_days DROP NOT NULL;
