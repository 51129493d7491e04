// What all scripts take from the environment.

const text = (name, otherwise) => __ENV[name] || otherwise;

/** A number of the environment. */
export const number = (name, otherwise) => {
  const given = Number(text(name, otherwise));
  if (!Number.isFinite(given) || given < 0) throw new Error(`${name} must be a number, and not below zero.`);
  return given;
};

/** Where the API is. */
export const BASE = text('BASE_URL', 'http://127.0.0.1:8080').replace(/\/+$/, '');

/** How long the load lasts, as k6 has it. */
export const duration = (otherwise) => text('DURATION', otherwise);

/**
 * What every script holds the server to. `OVERHEAD_P95_MS` and `OVERHEAD_P50_MS` are what Errand may add to the model's own
 * time; the defaults are for a release build that shares two cores with Postgres, Redis, the model and k6.
 */
export const thresholds = ({ p50 = 60, p95 = 250, failed = 0.001 } = {}) => ({
  chats: ['count>0'],
  chats_failed: [`rate<=${number('FAILED_RATE', failed)}`],
  // An answer without the model's time would count as no overhead at all.
  chats_without_timing: ['rate==0'],
  overhead_ms: [`p(50)<${number('OVERHEAD_P50_MS', p50)}`, `p(95)<${number('OVERHEAD_P95_MS', p95)}`],
});
