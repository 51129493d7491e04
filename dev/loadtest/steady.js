// So many chats a second, whatever the answers take: the arrival rate does not wait for a slow server.

import { chat, something } from './lib/chat.js';
import { duration, number, thresholds } from './lib/settings.js';
import { summary } from './lib/summary.js';
import { register } from './lib/users.js';

const RATE = number('RATE', 50);

export const options = {
  summaryTrendStats: ['med', 'p(95)', 'p(99)', 'max'],
  scenarios: {
    steady: { executor: 'constant-arrival-rate', rate: RATE, timeUnit: '1s', duration: duration('1m'), preAllocatedVUs: Math.ceil(RATE), maxVUs: Math.ceil(RATE * 20), gracefulStop: '60s' },
  },
  // A chat that could not be sent, because all senders waited, is a failure of the server, too.
  thresholds: { ...thresholds(), dropped_iterations: ['count==0'] },
};

export const setup = () => ({ users: register(number('USERS', 20)) });

export default function steady({ users }) {
  chat(users[(__VU + __ITER) % users.length], something(__ITER));
}

export const handleSummary = summary('steady');
