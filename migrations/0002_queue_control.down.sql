DELETE FROM schema_generations WHERE generation = 2;
DROP INDEX runs_ended_without_reply;
DROP TABLE queue_control;
