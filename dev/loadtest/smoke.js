// Smoke test: a few users send messages in every way the API offers.

import http from 'k6/http';
import { check, sleep } from 'k6';
import { chat, sampleMessage } from './lib/chat.js';
import { BASE, duration, thresholds } from './lib/settings.js';
import { summary } from './lib/summary.js';
import { headersOf, register } from './lib/users.js';

export const options = {
  summaryTrendStats: ['med', 'p(95)', 'p(99)', 'max'],
  scenarios: { smoke: { executor: 'constant-vus', vus: 3, duration: duration('15s') } },
  thresholds: { ...thresholds({ failed: 0 }), checks: ['rate==1'] },
};

export const setup = () => ({ users: register(3) });

export default function smoke({ users }) {
  const user = users[(__VU - 1) % users.length];
  const first = chat(user, sampleMessage(__ITER));
  if (!first) { sleep(1); return; }
  chat(user, 'Show me all my tasks', { conversation: first.conversation_id });
  chatAsync(user);
  chatWithEvents(user);
  const messages = http.get(`${BASE}/api/${user.id}/conversations/${first.conversation_id}/messages`, { headers: headersOf(user), tags: { name: 'messages' } });
  check(messages, { 'both messages and both replies are stored': (response) => response.status === 200 && response.json('items').length === 4 });
  sleep(0.5);
}

/** Sends a message without waiting, sends it again with the same key, and then waits for the run. */
function chatAsync(user) {
  const headers = { ...headersOf(user), Prefer: 'respond-async', 'Idempotency-Key': `smoke-${__VU}-${__ITER}-${Date.now()}` };
  const body = JSON.stringify({ message: 'Add a task to call Ann', conversation_id: null });
  const params = { headers, tags: { name: 'chat, async' } };
  const first = http.post(`${BASE}/api/${user.id}/chat`, body, params);
  const second = http.post(`${BASE}/api/${user.id}/chat`, body, params);
  check(first, { 'an asynchronous chat is accepted': (response) => response.status === 202 });
  check(second, { 'the same key returns the same run': (response) => [200, 202].includes(response.status) && response.json('run_id') === first.json('run_id') });
  const run = http.get(`${BASE}/api/${user.id}/runs/${first.json('run_id')}?wait=30`, { headers: headersOf(user), timeout: '40s', tags: { name: 'run' } });
  check(run, { 'the run succeeds while the client waits': (response) => response.status === 200 && response.json('status') === 'succeeded' });
}

/** Sends a message and reads its events until the run is finished. */
function chatWithEvents(user) {
  const headers = { ...headersOf(user), Accept: 'text/event-stream' };
  const events = http.post(`${BASE}/api/${user.id}/chat`, JSON.stringify({ message: 'Hello' }), { headers, timeout: '60s', tags: { name: 'chat, events' } });
  check(events, { 'the event stream reports the end': (response) => response.status === 200 && response.body.includes('event: run.succeeded') });
}

export const handleSummary = summary('smoke');
