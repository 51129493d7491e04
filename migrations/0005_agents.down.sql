DELETE FROM schema_generations WHERE generation = 5;
ALTER TABLE conversations DROP COLUMN agent;
