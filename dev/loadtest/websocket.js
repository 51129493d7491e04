// Many sockets, each with a user who says something now and then and hears it through to the end.

import ws from 'k6/ws';
import { Counter, Rate, Trend } from 'k6/metrics';
import { something } from './lib/chat.js';
import { BASE, duration, number } from './lib/settings.js';
import { summary } from './lib/summary.js';
import { register } from './lib/users.js';

const SOCKETS = number('SOCKETS', 100);
const USERS = number('USERS', 20);
/** Milliseconds between the end of one chat and the next. */
const PAUSE = number('PAUSE_MS', 1000);
/** Milliseconds after which an answer counts as lost. */
const PATIENCE = 60_000;

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
    // The message is stored; the model has no part in that.
    accepted_ms: [`p(95)<${number('ACCEPTED_P95_MS', 150)}`],
  },
};

export const setup = () => ({ users: register(USERS), end: Date.now() + seconds(duration('1m')) * 1000 });

export default function sockets({ users, end }) {
  const user = users[__VU % users.length];
  const url = `${BASE.replace(/^http/, 'ws')}/api/${user.id}/ws`;
  let closing = false;
  const answer = ws.connect(url, { headers: { Authorization: `Bearer ${user.token}` } }, (socket) => {
    let turn = 0;
    let open = null;
    const say = () => {
      if (Date.now() >= end) {
        closing = true;
        socket.close();
        return;
      }
      turn += 1;
      open = { id: `${__VU}-${turn}`, began: Date.now(), run: null };
      socket.send(JSON.stringify({ type: 'chat', id: open.id, message: something(turn) }));
    };
    const done = (good) => {
      chats.add(1);
      failed.add(!good);
      open = null;
      socket.setTimeout(say, PAUSE);
    };
    // The sockets do not all speak at once.
    socket.on('open', () => socket.setTimeout(say, 1 + Math.random() * PAUSE));
    socket.on('message', (text) => {
      const news = JSON.parse(text);
      if (open === null) return;
      if (news.type === 'accepted' && news.id === open.id) {
        open.run = news.run_id;
        accepted.add(Date.now() - open.began);
      } else if (news.type === 'error' && news.id === open.id) {
        console.warn(`socket: ${text.slice(0, 300)}`);
        done(false);
      } else if (open.run !== null && news.run_id === open.run && /^run\.(succeeded|failed|cancelled)$/.test(news.type)) {
        total.add(Date.now() - open.began);
        done(news.type === 'run.succeeded');
      }
    });
    socket.setInterval(() => { if (open !== null && Date.now() - open.began > PATIENCE) done(false); }, 5_000);
  });
  lost.add(!answer || answer.status !== 101 || !closing);
}

/** `90s`, `5m` or `1h` in seconds. */
function seconds(text) {
  const found = /^(\d+)([smh])$/.exec(text);
  if (!found) throw new Error('DURATION must be such as 90s, 5m or 1h.');
  return Number(found[1]) * { s: 1, m: 60, h: 3600 }[found[2]];
}

export const handleSummary = summary('websocket');
