DELETE FROM schema_generations WHERE generation = 8;
-- Nothing else knows of a parked run.
UPDATE runs SET status = 'queued', epoch = epoch + 1, ring_at = now() WHERE status = 'waiting_approval';
DROP INDEX runs_parked;
ALTER TABLE runs DROP COLUMN parked_until, DROP COLUMN time_left;
DROP TABLE asked_calls;
