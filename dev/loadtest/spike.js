// Spike test: the load rises to ten times its usual rate and falls again. All messages are answered, if later than usual.

import { chat, sampleMessage } from './lib/chat.js';
import { number, thresholds } from './lib/settings.js';
import { summary } from './lib/summary.js';
import { register } from './lib/users.js';

const RATE = number('RATE', 20);
const PEAK = number('PEAK', RATE * 10);

export const options = {
  summaryTrendStats: ['med', 'p(95)', 'p(99)', 'max'],
  scenarios: {
    spike: {
      executor: 'ramping-arrival-rate', startRate: RATE, timeUnit: '1s', preAllocatedVUs: Math.ceil(PEAK), maxVUs: Math.ceil(PEAK * 20), gracefulStop: '60s',
      stages: [{ target: RATE, duration: '15s' }, { target: PEAK, duration: '2s' }, { target: PEAK, duration: '20s' }, { target: RATE, duration: '2s' }, { target: RATE, duration: '20s' }],
    },
  },
  // The overhead may be high during the peak, but no chat may fail or go unsent.
  thresholds: { ...thresholds({ p50: 2000, p95: 15000 }), dropped_iterations: ['count==0'] },
};

export const setup = () => ({ users: register(number('USERS', 30)) });

export default function spike({ users }) {
  chat(users[(__VU + __ITER) % users.length], sampleMessage(__ITER));
}

export const handleSummary = summary('spike');
