-- The agent that a conversation has chosen at its creation, by its name in the file of agents; null is the default one.
ALTER TABLE conversations ADD COLUMN agent text CHECK (char_length(agent) BETWEEN 1 AND 64);

-- A program of an older generation works on, chooses nothing, and answers as the to-do agent.
INSERT INTO schema_generations VALUES (5, 1);
