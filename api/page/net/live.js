// Live events of the user's runs. One WebSocket carries the events of all runs and is reopened when it closes. While
// there is no WebSocket, watched runs are followed one by one.

import { Emitter, backoff, sleep } from '../async.js';
import * as api from './api.js';
import { follow } from './follow.js';
import { session } from './session.js';
import { Socket } from './socket.js';

/** Close code for an expired token. */
const TOKEN_EXPIRED = 4401;
/** How many runs are followed at once without a WebSocket. A browser opens six connections per host. */
const MAX_FOLLOWED = 2;
/** Maximum delay before the WebSocket is opened again, in milliseconds, by connection state. */
const MAX_RECONNECT_DELAY = { offline: 5_000, polling: 30_000 };

class Live {
  /** `connecting`, `live`, `polling` (the server responds but the WebSocket does not open) or `offline`. */
  state = 'connecting';
  /** Emits the new state. */
  changed = new Emitter();
  /** Emits each event of a run. */
  events = new Emitter();
  #socket = null;
  #watched = new Map();
  #stop = null;
  #reconnectNow = null;

  start() {
    this.#stop = new AbortController();
    this.#keepConnected(this.#stop.signal);
    const options = { signal: this.#stop.signal };
    // After a network change the old WebSocket may be dead without having been closed.
    addEventListener('online', () => { this.#socket?.close(); this.reconnect(); }, options);
    addEventListener('offline', () => this.#setState('offline'), options);
  }

  stop() {
    this.#stop?.abort();
    this.#socket?.close();
    this.#socket = null;
    for (const watched of this.#watched.values()) watched.stop?.abort();
    this.#watched.clear();
    this.state = 'connecting';
  }

  /** Opens the WebSocket now instead of after the reconnect delay. */
  reconnect() {
    this.#reconnectNow?.abort();
  }

  /** Delivers the events of a turn's run until `unwatch`. */
  watch(turn) {
    if (this.#watched.has(turn.runId)) return;
    this.#watched.set(turn.runId, { turn, stop: null });
    if (this.#socket) this.#socket.subscribe(turn.runId, turn.lastSeq);
    else this.#followWatched();
  }

  unwatch(runId) {
    this.#watched.get(runId)?.stop?.abort();
    this.#watched.delete(runId);
    if (!this.#socket) this.#followWatched();
  }

  /** Sends a message. Safe to repeat with the same key. */
  sendMessage(message) {
    return this.#socket ? this.#socket.sendMessage(message) : api.sendMessage(message);
  }

  async #keepConnected(stopped) {
    let rejectedToken = null;
    for (let attempt = 0; !stopped.aborted; attempt += 1) {
      const openedAt = Date.now();
      try {
        const token = await session.token(rejectedToken);
        rejectedToken = null;
        const code = await this.#connect(token, stopped);
        if (code === TOKEN_EXPIRED) rejectedToken = token;
        if (Date.now() - openedAt > 5_000) attempt = 0;
      } catch (error) {
        if (stopped.aborted || error.status === 401) return;
      }
      if (stopped.aborted) return;
      this.#socket = null;
      if (attempt > 0 || this.state !== 'live') this.#setState(await this.#isServerUp(stopped) ? 'polling' : 'offline');
      this.#followWatched();
      this.#reconnectNow = new AbortController();
      await sleep(backoff(attempt, MAX_RECONNECT_DELAY[this.state] ?? 5_000), AbortSignal.any([stopped, this.#reconnectNow.signal]));
    }
  }

  /** Opens the WebSocket and waits until it closes. Returns the close code. */
  async #connect(token, stopped) {
    let onClose;
    const closed = new Promise((resolve) => { onClose = resolve; });
    const socket = await Socket.open(session.user.id, token, (event) => this.events.emit(event), onClose);
    if (stopped.aborted) {
      socket.close();
      return closed;
    }
    this.#socket = socket;
    for (const [runId, watched] of this.#watched) {
      watched.stop?.abort();
      watched.stop = null;
      // Read all events again: new events, which the WebSocket sends at once, must not overtake missed ones.
      watched.turn.resetSeq();
      socket.subscribe(runId);
    }
    this.#setState('live');
    return closed;
  }

  async #isServerUp(signal) {
    try {
      await api.call('GET', '/conversations?limit=1', { signal, timeout: 5_000 });
      return true;
    } catch (error) {
      return error.status > 0 && error.status < 500;
    }
  }

  #setState(state) {
    if (state === this.state) return;
    this.state = state;
    this.changed.emit(state);
  }

  #followWatched() {
    let free = MAX_FOLLOWED;
    for (const [runId, watched] of this.#watched) {
      if (free === 0) return;
      free -= 1;
      if (watched.stop) continue;
      watched.stop = new AbortController();
      follow(runId, () => watched.turn.lastSeq, (event) => this.events.emit(event), watched.stop.signal);
    }
  }
}

export const live = new Live();
