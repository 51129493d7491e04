-- What a provider requires back with the tool calls of a step, and token counts that are estimates.

ALTER TABLE steps
    -- Reasoning and signatures, opaque to everything but the client of the model. Null if the provider sent nothing.
    ADD COLUMN provider_data   jsonb,
    -- The provider did not report the usage: the token counts are estimates.
    ADD COLUMN usage_estimated boolean NOT NULL DEFAULT false;

-- Whether the token counts of a finished run contain estimates.
ALTER TABLE runs ADD COLUMN usage_estimated boolean NOT NULL DEFAULT false;

-- A program of generation 1 writes the defaults.
INSERT INTO schema_generations VALUES (12, 1);
