// The users of a load test. They are registered in `setup`, so that password hashing does not affect the measurement.

import http from 'k6/http';
import { fail, sleep } from 'k6';
import { BASE } from './settings.js';

/** A registration is retried this often if it exceeds the rate limit. */
const MAX_ATTEMPTS = 5;
/** The maximum delay between two attempts, in seconds. */
const MAX_DELAY = 30;

const JSON_TYPE = { 'Content-Type': 'application/json' };

/** Registers `count` users with unique e-mail addresses. Returns `{id, token}` for each. */
export function register(count) {
  const run = `${Date.now().toString(36)}${Math.floor(Math.random() * 1e6).toString(36)}`;
  return Array.from({ length: count }, (_, index) => registerOne(`load-${run}-${index}@example.com`));
}

function registerOne(email) {
  const body = JSON.stringify({ email, password: 'a password for load tests', name: 'Load' });
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
    const response = http.post(`${BASE}/auth/register`, body, { headers: JSON_TYPE, tags: { name: 'register' }, responseCallback: http.expectedStatuses(201, 429) });
    if (response.status === 201) {
      const { user, access_token: token } = response.json();
      return { id: user.id, token };
    }
    if (response.status !== 429) fail(`Registration failed: ${response.status} ${response.body || response.error}. Is Errand running at ${BASE}?`);
    sleep(Math.min(Number(response.headers['Retry-After']) || 1, MAX_DELAY));
  }
  return fail('Registration failed: too many requests. Start the API with RATE_LIMIT_AUTH_PER_MINUTE=0.');
}

/** The headers of an authenticated request. */
export const headersOf = (user) => ({ ...JSON_TYPE, Authorization: `Bearer ${user.token}` });
