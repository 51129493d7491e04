// Sends a chat request and records its metrics.

import http from 'k6/http';
import { Counter, Rate, Trend } from 'k6/metrics';
import { BASE } from './settings.js';
import { headersOf } from './users.js';
import { parseServerTiming } from './timing.js';

const chats = new Counter('chats');
const failed = new Rate('chats_failed');
const withoutTiming = new Rate('chats_without_timing');
const total = new Trend('chat_ms', true);
const overhead = new Trend('overhead_ms', true);
const partDurations = Object.fromEntries(['accept', 'queue', 'model', 'tools', 'persist'].map((name) => [name, new Trend(`part_${name}_ms`, true)]));

/** Messages that the demo model understands. Most of them take two model calls and a tool call. */
const MESSAGES = ['Add a task to water the plants', 'Show me all my tasks', 'Add a task to buy milk', 'Hello'];

/** A message for the chat of this number. */
export const sampleMessage = (number) => MESSAGES[number % MESSAGES.length];

/** The arguments of a chat request: `[url, body, params]`. `wait` is in seconds. */
export function request(user, message, { conversation = null, wait = 60 } = {}) {
  const headers = { ...headersOf(user), Prefer: `wait=${wait}` };
  const params = { headers, timeout: `${wait + 10}s`, tags: { name: 'chat' } };
  return [`${BASE}/api/${user.id}/chat`, JSON.stringify({ message, conversation_id: conversation }), params];
}

/** Records a response. Returns its body, or null if the run did not succeed. */
export function recordResponse(response) {
  chats.add(1);
  const body = response.status === 200 ? response.json() : null;
  const succeeded = body !== null && body.status === 'succeeded' && body.message !== '';
  failed.add(!succeeded);
  if (!succeeded) {
    console.warn(`chat: ${response.status} ${String(response.body || response.error).slice(0, 300)}`);
    return null;
  }
  const durations = parseServerTiming(response.headers['Server-Timing']);
  withoutTiming.add(durations.model === undefined);
  total.add(response.timings.duration);
  if (durations.model !== undefined) overhead.add(Math.max(0, response.timings.duration - durations.model));
  for (const [name, trend] of Object.entries(partDurations)) if (durations[name] !== undefined) trend.add(durations[name]);
  return body;
}

/** Sends a message and waits for the answer. Returns the body of the response, or null if the run did not succeed. */
export const chat = (user, message, options) => recordResponse(http.post(...request(user, message, options)));
