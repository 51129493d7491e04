DELETE FROM schema_generations WHERE generation = 12;
ALTER TABLE runs DROP COLUMN usage_estimated;
ALTER TABLE steps
    DROP COLUMN usage_estimated,
    DROP COLUMN provider_data;
