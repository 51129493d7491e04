// Thousands of chats wait for a slow model at the same time. Give the model several seconds of latency.

import http from 'k6/http';
import { Gauge } from 'k6/metrics';
import { recordResponse, request } from './lib/chat.js';
import { number, thresholds } from './lib/settings.js';
import { summary } from './lib/summary.js';
import { register } from './lib/users.js';

const CHATS = number('CHATS', 2000);
const USERS = number('USERS', Math.ceil(CHATS / 80));
const CHATS_PER_USER = Math.ceil(CHATS / USERS);

const inFlight = new Gauge('runs_in_flight_of_a_user');

export const options = {
  summaryTrendStats: ['med', 'p(95)', 'p(99)', 'max'],
  // Each virtual user sends its chats at once and waits for all of them. In k6, requests are cheaper than virtual users.
  scenarios: { waiting: { executor: 'per-vu-iterations', vus: USERS, iterations: 1, maxDuration: '10m' } },
  thresholds: { ...thresholds({ p50: 5000, p95: 10000 }), chats: [`count>=${CHATS}`] },
};

export const setup = () => ({ users: register(USERS) });

export default async function waiting({ users }) {
  const user = users[__VU - 1];
  const sent = Array.from({ length: CHATS_PER_USER }, () => http.asyncRequest('POST', ...request(user, 'Hello', { wait: 120 })));
  inFlight.add(sent.length);
  for (const response of await Promise.all(sent)) recordResponse(response);
}

export const handleSummary = summary('waiting');
