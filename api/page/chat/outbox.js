// Messages that were sent but not acknowledged. Each keeps its key until the server has said that it has it, over
// reloads, so that sending it again never makes a second message.

import { keep, read } from '../keep.js';
import { Signal, backoff, pause } from '../signal.js';
import { live } from '../net/live.js';
import { session } from '../net/session.js';

/** How often a message is sent by itself before its user is asked. */
const TRIES = 8;
/** Longest wait that the server may ask for before a message is sent again by itself, in seconds. */
const WAIT = 60;

class Outbox {
  /** Told `(item, news)`: `sending`, `accepted` (with the run), `waiting` and `unsent` (with the problem). */
  told = new Signal();
  #busy = new Set();
  /** Threads that have become conversations, whose other messages are to go there. */
  #moved = new Set();
  #wakes = new Set();

  constructor() {
    live.changed.on((state) => { if (state !== 'away') this.wake(); });
  }

  /** The messages of a thread, oldest first: `{key, thread, conversationId, text, at}`. */
  of(thread) {
    return this.#all().filter((item) => item.thread === thread);
  }

  /** The thread of a message whose conversation the server has not made yet, if there is one. */
  get newThread() {
    return this.#all().find((item) => item.conversationId === null)?.thread ?? null;
  }

  get isEmpty() {
    return this.#all().length === 0;
  }

  /** Takes a message; gives its item. */
  add(thread, conversationId, text) {
    const item = { key: newKey(), thread, conversationId, text, at: new Date().toISOString() };
    this.#store([...this.#all(), item]);
    this.send(thread);
    return item;
  }

  /** Takes a message back that the server does not have. */
  remove(key) {
    this.#store(this.#all().filter((item) => item.key !== key));
  }

  /** Sends what waits, one after the other within a thread. */
  sendAll() {
    for (const thread of new Set(this.#all().map((item) => item.thread))) this.send(thread);
  }

  async send(thread) {
    if (this.#busy.has(thread)) return;
    const owner = session.user?.id;
    this.#busy.add(thread);
    try {
      for (let next = this.of(thread)[0]; next && session.user?.id === owner; next = this.of(thread)[0]) {
        if (!await this.#deliver(next)) break;
      }
    } finally {
      this.#busy.delete(thread);
    }
    if (session.user?.id === owner) this.#goOn();
  }

  /** Ends waits between tries. */
  wake() {
    for (const wake of this.#wakes) wake.abort();
  }

  /** Whether the server has it in the end. */
  async #deliver(item) {
    for (let tries = 0; ; tries += 1) {
      this.told.tell(item, 'sending');
      try {
        const { run_id, conversation_id } = await live.chat(item);
        this.#accepted(item, conversation_id);
        this.told.tell(item, 'accepted', { runId: run_id, conversationId: conversation_id });
        return true;
      } catch (problem) {
        const wait = problem.retryAfter ?? 0;
        const again = problem.passes && tries + 1 < TRIES && wait <= WAIT;
        this.told.tell(item, again ? 'waiting' : 'unsent', problem);
        if (!again) return false;
        await this.#pause(Math.max(wait * 1000, backoff(tries)));
      }
    }
  }

  /** Those behind it in a new conversation now know which that is. */
  #accepted(item, conversationId) {
    const rest = this.#all().filter((other) => other.key !== item.key);
    for (const other of rest.filter(({ thread }) => thread === item.thread && thread !== conversationId)) {
      Object.assign(other, { thread: conversationId, conversationId });
      this.#moved.add(conversationId);
    }
    this.#store(rest);
  }

  #goOn() {
    for (const thread of this.#moved) this.send(thread);
    this.#moved.clear();
  }

  async #pause(milliseconds) {
    const wake = new AbortController();
    this.#wakes.add(wake);
    await pause(milliseconds, wake.signal);
    this.#wakes.delete(wake);
  }

  #all() {
    return read(`${session.user?.id}.outbox`, []);
  }

  #store(items) {
    // Gone meanwhile: what was kept is sent again under its key, by whoever logs in as the same user.
    if (session.user) keep(`${session.user.id}.outbox`, items.length > 0 ? items : null);
  }
}

/** Unguessable, also where `crypto.randomUUID` is not to be had: over plain http. */
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `page-${[...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

export const outbox = new Outbox();
export { newKey };
