// Thousands of chats that wait for a slow model at the same time. Start the model with some seconds of latency.

import http from 'k6/http';
import { Gauge } from 'k6/metrics';
import { count, request } from './lib/chat.js';
import { number, thresholds } from './lib/settings.js';
import { summary } from './lib/summary.js';
import { register } from './lib/users.js';

const CHATS = number('CHATS', 2000);
const USERS = number('USERS', Math.ceil(CHATS / 80));
const EACH = Math.ceil(CHATS / USERS);

const inFlight = new Gauge('runs_in_flight_of_a_user');

export const options = {
  summaryTrendStats: ['med', 'p(95)', 'p(99)', 'max'],
  // One sender a user, who sends all at once and waits for all: many requests cost k6 less than many senders.
  scenarios: { waiting: { executor: 'per-vu-iterations', vus: USERS, iterations: 1, maxDuration: '10m' } },
  thresholds: { ...thresholds({ p50: 5000, p95: 10000 }), chats: [`count>=${CHATS}`] },
};

export const setup = () => ({ users: register(USERS) });

export default async function waiting({ users }) {
  const user = users[__VU - 1];
  const sent = Array.from({ length: EACH }, () => http.asyncRequest('POST', ...request(user, 'Hello', { wait: 120 })));
  inFlight.add(sent.length);
  for (const answer of await Promise.all(sent)) count(answer);
}

export const handleSummary = summary('waiting');
