// The users of a load test: registered in `setup`, so that no password is hashed while it counts.

import http from 'k6/http';
import { fail, sleep } from 'k6';
import { BASE } from './settings.js';

/** Tries at one registration, and the longest wait between two, in seconds: the rate limit may be on. */
const TRIES = 5;
const LONGEST = 30;

const JSON_TYPE = { 'Content-Type': 'application/json' };

/** Registers so many users with e-mails of their own: `{id, token}` each. */
export function register(count) {
  const run = `${Date.now().toString(36)}${Math.floor(Math.random() * 1e6).toString(36)}`;
  return Array.from({ length: count }, (_, index) => one(`load-${run}-${index}@example.com`));
}

function one(email) {
  const body = JSON.stringify({ email, password: 'a password for load tests', name: 'Load' });
  for (let tried = 0; tried < TRIES; tried += 1) {
    const answer = http.post(`${BASE}/auth/register`, body, { headers: JSON_TYPE, tags: { name: 'register' }, responseCallback: http.expectedStatuses(201, 429) });
    if (answer.status === 201) {
      const { user, access_token: token } = answer.json();
      return { id: user.id, token };
    }
    if (answer.status !== 429) fail(`No user: ${answer.status} ${answer.body || answer.error}. Is ${BASE} an Errand that is up?`);
    sleep(Math.min(Number(answer.headers['Retry-After']) || 1, LONGEST));
  }
  return fail('No user: the limit on registrations is on. Start the API with RATE_LIMIT_AUTH_PER_MINUTE=0.');
}

/** The headers of a user's requests. */
export const headersOf = (user) => ({ ...JSON_TYPE, Authorization: `Bearer ${user.token}` });
