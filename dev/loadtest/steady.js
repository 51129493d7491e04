// Steady load: a fixed number of chats per second, however long the answers take.

import { chat, sampleMessage } from './lib/chat.js';
import { duration, number, thresholds } from './lib/settings.js';
import { summary } from './lib/summary.js';
import { register } from './lib/users.js';

const RATE = number('RATE', 50);

export const options = {
  summaryTrendStats: ['med', 'p(95)', 'p(99)', 'max'],
  scenarios: {
    steady: { executor: 'constant-arrival-rate', rate: RATE, timeUnit: '1s', duration: duration('1m'), preAllocatedVUs: Math.ceil(RATE), maxVUs: Math.ceil(RATE * 20), gracefulStop: '60s' },
  },
  // A chat that could not be sent because all virtual users were still waiting also counts as a failure of the server.
  thresholds: { ...thresholds(), dropped_iterations: ['count==0'] },
};

export const setup = () => ({ users: register(number('USERS', 20)) });

export default function steady({ users }) {
  chat(users[(__VU + __ITER) % users.length], sampleMessage(__ITER));
}

export const handleSummary = summary('steady');
