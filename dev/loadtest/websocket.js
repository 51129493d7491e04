// Many WebSockets. Each sends a message, waits until its run is finished, pauses and repeats.

import ws from 'k6/ws';
import { Counter, Rate, Trend } from 'k6/metrics';
import { sampleMessage } from './lib/chat.js';
import { BASE, duration, number } from './lib/settings.js';
import { summary } from './lib/summary.js';
import { register } from './lib/users.js';

const SOCKETS = number('SOCKETS', 100);
const USERS = number('USERS', 20);
/** Milliseconds between the end of one chat and the next. */
const PAUSE = number('PAUSE_MS', 1000);
/** A run that takes longer counts as failed, in milliseconds. */
const TIMEOUT = 60_000;

const chats = new Counter('chats');
const failed = new Rate('chats_failed');
const lost = new Rate('socket_lost');
const accepted = new Trend('accepted_ms', true);
const total = new Trend('chat_ms', true);

export const options = {
  summaryTrendStats: ['med', 'p(95)', 'p(99)', 'max'],
  scenarios: { sockets: { executor: 'per-vu-iterations', vus: SOCKETS, iterations: 1, maxDuration: '2h' } },
  thresholds: {
    chats: ['count>0'],
    chats_failed: [`rate<=${number('FAILED_RATE', 0.001)}`],
    socket_lost: ['rate==0'],
    // The time until the message is stored. It does not depend on the model.
    accepted_ms: [`p(95)<${number('ACCEPTED_P95_MS', 150)}`],
  },
};

export const setup = () => ({ users: register(USERS), end: Date.now() + seconds(duration('1m')) * 1000 });

export default function sockets({ users, end }) {
  const user = users[__VU % users.length];
  const url = `${BASE.replace(/^http/, 'ws')}/api/${user.id}/ws`;
  let closing = false;
  const response = ws.connect(url, { headers: { Authorization: `Bearer ${user.token}` } }, (socket) => {
    let count = 0;
    let pending = null;
    const send = () => {
      if (Date.now() >= end) {
        closing = true;
        socket.close();
        return;
      }
      count += 1;
      pending = { id: `${__VU}-${count}`, start: Date.now(), runId: null };
      socket.send(JSON.stringify({ type: 'chat', id: pending.id, message: sampleMessage(count) }));
    };
    const finish = (succeeded) => {
      chats.add(1);
      failed.add(!succeeded);
      pending = null;
      socket.setTimeout(send, PAUSE);
    };
    // A random start keeps the sockets from sending at the same time.
    socket.on('open', () => socket.setTimeout(send, 1 + Math.random() * PAUSE));
    socket.on('message', (text) => {
      const frame = JSON.parse(text);
      if (pending === null) return;
      if (frame.type === 'accepted' && frame.id === pending.id) {
        pending.runId = frame.run_id;
        accepted.add(Date.now() - pending.start);
      } else if (frame.type === 'error' && frame.id === pending.id) {
        console.warn(`socket: ${text.slice(0, 300)}`);
        finish(false);
      } else if (pending.runId !== null && frame.run_id === pending.runId && /^run\.(succeeded|failed|cancelled)$/.test(frame.type)) {
        total.add(Date.now() - pending.start);
        finish(frame.type === 'run.succeeded');
      }
    });
    socket.setInterval(() => { if (pending !== null && Date.now() - pending.start > TIMEOUT) finish(false); }, 5_000);
  });
  lost.add(!response || response.status !== 101 || !closing);
}

/** Converts `90s`, `5m` or `1h` to seconds. */
function seconds(text) {
  const match = /^(\d+)([smh])$/.exec(text);
  if (!match) throw new Error('DURATION must be a number with a unit, such as 90s, 5m or 1h.');
  return Number(match[1]) * { s: 1, m: 60, h: 3600 }[match[2]];
}

export const handleSummary = summary('websocket');
