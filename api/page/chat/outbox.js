// Messages that the server has not acknowledged. Each keeps its idempotency key in storage until then, across reloads, so
// that sending it again never creates a second message.

import { Emitter, backoff, sleep } from '../async.js';
import { live } from '../net/live.js';
import { session } from '../net/session.js';
import { readItem, writeItem } from '../storage.js';

/** How often a message is sent automatically before the user has to decide. */
const MAX_ATTEMPTS = 8;
/** A message is not sent again automatically if the server asks for a longer delay, in seconds. */
const MAX_RETRY_AFTER = 60;

class Outbox {
  /** Emits `(item, status, data)`: `sending`, `accepted` (with the run), `retrying` or `unsent` (with the problem). */
  changed = new Emitter();
  #sending = new Set();
  /** New threads that have become conversations; their remaining messages are still to be sent. */
  #renamed = new Set();
  #sleepers = new Set();

  constructor() {
    live.changed.on((state) => { if (state !== 'offline') this.#wake(); });
  }

  /** The messages of a thread, oldest first: `{key, thread, conversationId, text, at}`. */
  itemsOf(thread) {
    return this.#items().filter((item) => item.thread === thread);
  }

  /** The thread of an unsent message whose conversation does not exist yet, or null. */
  get newThread() {
    return this.#items().find((item) => item.conversationId === null)?.thread ?? null;
  }

  get isEmpty() {
    return this.#items().length === 0;
  }

  /** Stores a message, starts to send it and returns its item. */
  add(thread, conversationId, text) {
    const item = { key: newKey(), thread, conversationId, text, at: new Date().toISOString() };
    this.#store([...this.#items(), item]);
    this.send(thread);
    return item;
  }

  remove(key) {
    this.#store(this.#items().filter((item) => item.key !== key));
  }

  sendAll() {
    for (const thread of new Set(this.#items().map((item) => item.thread))) this.send(thread);
  }

  /** Sends the messages of a thread one after another. */
  async send(thread) {
    if (this.#sending.has(thread)) return;
    const owner = session.user?.id;
    this.#sending.add(thread);
    try {
      for (let next = this.itemsOf(thread)[0]; next && session.user?.id === owner; next = this.itemsOf(thread)[0]) {
        if (!await this.#deliver(next)) break;
      }
    } finally {
      this.#sending.delete(thread);
    }
    if (session.user?.id === owner) this.#sendRenamed();
  }

  /** Retries now the messages that wait for their next attempt. */
  #wake() {
    for (const sleeper of this.#sleepers) sleeper.abort();
  }

  /** Sends a message until the server accepts it or an attempt fails for good. Returns whether it was accepted. */
  async #deliver(item) {
    for (let attempt = 0; ; attempt += 1) {
      this.changed.emit(item, 'sending');
      try {
        const { run_id, conversation_id } = await live.sendMessage(item);
        this.#accepted(item, conversation_id);
        this.changed.emit(item, 'accepted', { runId: run_id, conversationId: conversation_id });
        return true;
      } catch (problem) {
        const retryAfter = problem.retryAfter ?? 0;
        const willRetry = problem.isTransient && attempt + 1 < MAX_ATTEMPTS && retryAfter <= MAX_RETRY_AFTER;
        this.changed.emit(item, willRetry ? 'retrying' : 'unsent', problem);
        if (!willRetry) return false;
        await this.#sleep(Math.max(retryAfter * 1000, backoff(attempt)));
      }
    }
  }

  /** Removes a message. The messages behind it in a new thread get the id of the conversation. */
  #accepted(item, conversationId) {
    const rest = this.#items().filter((other) => other.key !== item.key);
    for (const other of rest.filter(({ thread }) => thread === item.thread && thread !== conversationId)) {
      Object.assign(other, { thread: conversationId, conversationId });
      this.#renamed.add(conversationId);
    }
    this.#store(rest);
  }

  #sendRenamed() {
    for (const thread of this.#renamed) this.send(thread);
    this.#renamed.clear();
  }

  async #sleep(milliseconds) {
    const sleeper = new AbortController();
    this.#sleepers.add(sleeper);
    await sleep(milliseconds, sleeper.signal);
    this.#sleepers.delete(sleeper);
  }

  #items() {
    return readItem(`${session.user?.id}.outbox`, []);
  }

  #store(items) {
    // If the user has signed out, the stored item stays. It is sent under the same key when the user signs in again.
    if (session.user) writeItem(`${session.user.id}.outbox`, items.length > 0 ? items : null);
  }
}

/** A random key. `crypto.randomUUID` does not exist on a page served over plain HTTP. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `page-${[...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

export const outbox = new Outbox();
