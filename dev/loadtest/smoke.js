// Does it work at all: a few users, every way to ask for an answer.

import http from 'k6/http';
import { check, sleep } from 'k6';
import { chat, something } from './lib/chat.js';
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
  const first = chat(user, something(__ITER));
  if (!first) { sleep(1); return; }
  chat(user, 'Show me all my tasks', { conversation: first.conversation_id });
  later(user);
  streamed(user);
  const messages = http.get(`${BASE}/api/${user.id}/conversations/${first.conversation_id}/messages`, { headers: headersOf(user), tags: { name: 'messages' } });
  check(messages, { 'both messages and both replies are stored': (one) => one.status === 200 && one.json('items').length === 4 });
  sleep(0.5);
}

/** Without waiting, and then for the run's end. */
function later(user) {
  const headers = { ...headersOf(user), Prefer: 'respond-async', 'Idempotency-Key': `smoke-${__VU}-${__ITER}-${Date.now()}` };
  const body = JSON.stringify({ message: 'Add a task to try it later', conversation_id: null });
  const params = { headers, tags: { name: 'chat, later' } };
  const posted = http.post(`${BASE}/api/${user.id}/chat`, body, params);
  const again = http.post(`${BASE}/api/${user.id}/chat`, body, params);
  check(posted, { 'a chat that does not wait is accepted': (one) => one.status === 202 });
  check(again, { 'the same key is the same run': (one) => (one.status === 202 || one.status === 200) && one.json('run_id') === posted.json('run_id') });
  const ended = http.get(`${BASE}/api/${user.id}/runs/${posted.json('run_id')}?wait=30`, { headers: headersOf(user), timeout: '40s', tags: { name: 'run' } });
  check(ended, { 'it ends while somebody waits': (one) => one.status === 200 && one.json('status') === 'succeeded' });
}

/** As events, which end with the run. */
function streamed(user) {
  const headers = { ...headersOf(user), Accept: 'text/event-stream' };
  const answer = http.post(`${BASE}/api/${user.id}/chat`, JSON.stringify({ message: 'Hello' }), { headers, timeout: '60s', tags: { name: 'chat, as events' } });
  check(answer, { 'a stream of events tells the end': (one) => one.status === 200 && one.body.includes('event: run.succeeded') });
}

export const handleSummary = summary('smoke');
