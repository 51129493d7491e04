-- Where a run comes from: the request that posted it, and the trace that goes on in its worker (W3C Trace Context).
ALTER TABLE runs
    ADD COLUMN request_id  text CHECK (char_length(request_id) <= 128),
    ADD COLUMN traceparent text CHECK (char_length(traceparent) <= 128);

-- Programs of before leave both out.
INSERT INTO schema_generations VALUES (4, 1);
