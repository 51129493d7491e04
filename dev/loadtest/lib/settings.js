// Settings from the environment that all scripts share.

const text = (name, fallback) => __ENV[name] || fallback;

/** Reads a number. Throws if it is negative or not a number. */
export const number = (name, fallback) => {
  const value = Number(text(name, fallback));
  if (!Number.isFinite(value) || value < 0) throw new Error(`${name} must be a number that is not negative.`);
  return value;
};

/** The URL of the API. */
export const BASE = text('BASE_URL', 'http://127.0.0.1:8080').replace(/\/+$/, '');

/** The duration of the load, in k6's format. */
export const duration = (fallback) => text('DURATION', fallback);

/**
 * Thresholds of all scripts. `OVERHEAD_P50_MS` and `OVERHEAD_P95_MS` limit the time that Errand adds to the model's own. The
 * defaults are for a release build that shares two cores with Postgres, Redis, the model and k6.
 */
export const thresholds = ({ p50 = 60, p95 = 250, failed = 0.001 } = {}) => ({
  chats: ['count>0'],
  chats_failed: [`rate<=${number('FAILED_RATE', failed)}`],
  // Without the model's time, the overhead of a response cannot be computed.
  chats_without_timing: ['rate==0'],
  overhead_ms: [`p(50)<${number('OVERHEAD_P50_MS', p50)}`, `p(95)<${number('OVERHEAD_P95_MS', p95)}`],
});
