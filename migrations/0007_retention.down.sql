DELETE FROM schema_generations WHERE generation = 7;
DROP INDEX refresh_tokens_expires;
ALTER TABLE runs DROP COLUMN journal_dropped_at;
