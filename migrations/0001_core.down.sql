DROP TABLE schema_generations, idempotency_keys, workers, tool_calls, steps, messages, runs, conversations, tasks, task_counters,
    refresh_tokens, users;
