// One chat, and what is counted of it.

import http from 'k6/http';
import { Counter, Rate, Trend } from 'k6/metrics';
import { BASE } from './settings.js';
import { headersOf } from './users.js';
import { parts } from './timing.js';

const chats = new Counter('chats');
const failed = new Rate('chats_failed');
const untimed = new Rate('chats_without_timing');
const total = new Trend('chat_ms', true);
const overhead = new Trend('overhead_ms', true);
const parted = Object.fromEntries(['accept', 'queue', 'model', 'tools', 'persist'].map((name) => [name, new Trend(`part_${name}_ms`, true)]));

/** What is said, in turn; all of it is understood by the demo model. Most of it takes two calls of the model and a tool. */
const SAID = ['Add a task to water the plants', 'Show me all my tasks', 'Add a task to buy milk', 'Hello'];

/** Something to say. */
export const something = (turn) => SAID[turn % SAID.length];

/** The request of a chat: `[url, body, params]`. `wait` is in seconds. */
export function request(user, message, { conversation = null, wait = 60 } = {}) {
  const headers = { ...headersOf(user), Prefer: `wait=${wait}` };
  const params = { headers, timeout: `${wait + 10}s`, tags: { name: 'chat' } };
  return [`${BASE}/api/${user.id}/chat`, JSON.stringify({ message, conversation_id: conversation }), params];
}

/** Counts an answer; gives its body, or null if it is not the answer of a run that succeeded. */
export function count(answer) {
  chats.add(1);
  const body = answer.status === 200 ? answer.json() : null;
  const good = body !== null && body.status === 'succeeded' && body.message !== '';
  failed.add(!good);
  if (!good) {
    console.warn(`chat: ${answer.status} ${String(answer.body || answer.error).slice(0, 300)}`);
    return null;
  }
  const took = parts(answer.headers['Server-Timing']);
  untimed.add(took.model === undefined);
  total.add(answer.timings.duration);
  if (took.model !== undefined) overhead.add(Math.max(0, answer.timings.duration - took.model));
  for (const [name, trend] of Object.entries(parted)) if (took[name] !== undefined) trend.add(took[name]);
  return body;
}

/** Chats and waits for the answer; gives its body, or null. */
export const chat = (user, message, options) => count(http.post(...request(user, message, options)));
