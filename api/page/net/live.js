// Everything live: the events of all of the user's runs over one WebSocket, opened again whenever it ends; runs that
// are watched are followed one by one while there is none.

import { Signal, backoff, pause } from '../signal.js';
import * as api from './api.js';
import { follow } from './follow.js';
import { session } from './session.js';
import { Socket } from './socket.js';

/** Close code of an expired token. */
const EXPIRED = 4401;
/** Runs that are followed at once without a socket: a browser has six connections to a host. */
const FOLLOWED = 2;
/** Longest wait between tries of the socket, in milliseconds: while the server is away, and while only the socket is. */
const LONGEST = { away: 5_000, polling: 30_000 };

class Live {
  /** `connecting`, `live`, `polling` (the server answers, but there is no socket) or `away`. */
  state = 'connecting';
  /** Told the new state. */
  changed = new Signal();
  /** Told each event of a run. */
  events = new Signal();
  #socket = null;
  #watched = new Map();
  #stop = null;
  #wake = null;

  start() {
    this.#stop = new AbortController();
    this.#keepOpen(this.#stop.signal);
    const options = { signal: this.#stop.signal };
    // A socket from before may be dead without knowing it.
    addEventListener('online', () => { this.#socket?.close(); this.retry(); }, options);
    addEventListener('offline', () => this.#turn('away'), options);
  }

  stop() {
    this.#stop?.abort();
    this.#socket?.close();
    this.#socket = null;
    for (const watched of this.#watched.values()) watched.stop?.abort();
    this.#watched.clear();
    this.state = 'connecting';
  }

  /** Tries the socket now. */
  retry() {
    this.#wake?.abort();
  }

  /** Sees to it that the events of a turn's run come, until `unwatch`. */
  watch(turn) {
    if (this.#watched.has(turn.runId)) return;
    this.#watched.set(turn.runId, { turn, stop: null });
    if (this.#socket) this.#socket.subscribe(turn.runId, turn.heard);
    else this.#followSome();
  }

  unwatch(runId) {
    this.#watched.get(runId)?.stop?.abort();
    this.#watched.delete(runId);
    if (!this.#socket) this.#followSome();
  }

  /** Sends a message; sending it again under its key is safe. */
  chat(message) {
    return this.#socket ? this.#socket.chat(message) : api.chat(message);
  }

  async #keepOpen(stopped) {
    let stale = null;
    for (let tries = 0; !stopped.aborted; tries += 1) {
      let token = null;
      const opened = Date.now();
      try {
        token = await session.token(stale);
        stale = null;
        const code = await this.#once(token, stopped);
        if (code === EXPIRED) stale = token;
        if (Date.now() - opened > 5_000) tries = 0;
      } catch (fault) {
        if (stopped.aborted || fault.status === 401) return;
      }
      if (stopped.aborted) return;
      this.#socket = null;
      if (tries > 0 || this.state !== 'live') this.#turn(await this.#answers(stopped) ? 'polling' : 'away');
      this.#followSome();
      this.#wake = new AbortController();
      await pause(backoff(tries, LONGEST[this.state] ?? 5_000), AbortSignal.any([stopped, this.#wake.signal]));
    }
  }

  /** Opens the socket and waits for its end; gives the close code. */
  async #once(token, stopped) {
    let ended;
    const end = new Promise((resolve) => { ended = resolve; });
    const socket = await Socket.open(session.user.id, token, (event) => this.events.tell(event), ended);
    if (stopped.aborted) {
      socket.close();
      return end;
    }
    this.#socket = socket;
    for (const [runId, watched] of this.#watched) {
      watched.stop?.abort();
      watched.stop = null;
      // From the beginning: the socket tells news of all runs at once, and they must not overtake what was missed.
      watched.turn.restart();
      socket.subscribe(runId);
    }
    this.#turn('live');
    return end;
  }

  async #answers(signal) {
    try {
      await api.call('GET', '/conversations?limit=1', { signal, patience: 5_000 });
      return true;
    } catch (fault) {
      return fault.status > 0 && fault.status < 500;
    }
  }

  #turn(state) {
    if (state === this.state) return;
    this.state = state;
    this.changed.tell(state);
  }

  #followSome() {
    let free = FOLLOWED;
    for (const [runId, watched] of this.#watched) {
      if (free === 0) return;
      free -= 1;
      if (watched.stop) continue;
      watched.stop = new AbortController();
      follow(runId, () => watched.turn.heard, (event) => this.events.tell(event), watched.stop.signal);
    }
  }
}

export const live = new Live();
