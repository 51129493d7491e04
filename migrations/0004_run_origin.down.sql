DELETE FROM schema_generations WHERE generation = 4;
ALTER TABLE runs DROP COLUMN request_id, DROP COLUMN traceparent;
