// Soak test: a moderate load for a long time. Leaks, growth and slowdowns show at the end.

import exec from 'k6/execution';
import { Trend } from 'k6/metrics';
import { chat, sampleMessage } from './lib/chat.js';
import { duration, number, thresholds } from './lib/settings.js';
import { summary } from './lib/summary.js';
import { register } from './lib/users.js';

const RATE = number('RATE', 10);
/** Durations of the chats in the first and the last tenth of the test. */
const first = new Trend('drift_first_ms', true);
const last = new Trend('drift_last_ms', true);

export const options = {
  summaryTrendStats: ['med', 'p(95)', 'p(99)', 'max'],
  scenarios: {
    soak: { executor: 'constant-arrival-rate', rate: RATE, timeUnit: '1s', duration: duration('30m'), preAllocatedVUs: Math.ceil(RATE * 2), maxVUs: Math.ceil(RATE * 20), gracefulStop: '60s' },
  },
  thresholds: { ...thresholds(), dropped_iterations: ['count==0'], drift_last_ms: [`p(95)<${number('DRIFT_P95_MS', 500)}`] },
};

export const setup = () => ({ users: register(number('USERS', 20)) });

/** Each virtual user sends ten messages in a conversation before it starts a new one. */
let conversation = null;

export default function soak({ users }) {
  if (__ITER % 10 === 0) conversation = null;
  const start = Date.now();
  const body = chat(users[__VU % users.length], sampleMessage(__ITER), { conversation });
  conversation = body ? body.conversation_id : null;
  const { progress } = exec.scenario;
  if (progress < 0.1) first.add(Date.now() - start);
  if (progress > 0.9) last.add(Date.now() - start);
}

export const handleSummary = summary('soak');
