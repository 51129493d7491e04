// One conversation as the page holds it: its turns in order, the oldest known page, and what is still on its way.

import { Signal, gathered } from '../signal.js';
import { conversations, runs } from '../net/api.js';
import { live } from '../net/live.js';
import { newKey, outbox } from './outbox.js';
import { Turn } from './turn.js';

/** What the name of a thread without a conversation begins with. */
const NEW = 'new-';

export class Thread {
  /** Told after turns came or went, or their order changed. */
  changed = new Signal();
  /** Told when a new conversation has got its id. */
  named = new Signal();
  turns = [];
  /** Where older messages begin; undefined before the first page, null at the end. */
  cursor;
  #closed = [];
  #catchUp = gathered(() => this.refresh().catch(() => {}), 120);

  /** The conversation of this id; a new one if it is null. */
  constructor(id) {
    this.id = id;
    this.key = id ?? outbox.newThread ?? NEW + newKey();
    for (const item of outbox.of(this.key)) this.#pending(item);
    this.#closed.push(
      outbox.told.on((item, news, about) => this.#told(item, news, about)),
      live.events.on((event) => this.#hear(event)),
    );
  }

  close() {
    for (const close of this.#closed) close();
    for (const turn of this.turns) if (turn.runId) live.unwatch(turn.runId);
  }

  /** Reads the newest page. */
  async load() {
    if (this.id) await this.refresh();
    else this.cursor = null;
  }

  /** Reads the newest page again, for what was missed. */
  async refresh() {
    const { items, next_cursor } = await conversations.messages(this.id);
    const stored = this.turns.filter((turn) => turn.at !== null && turn.runId);
    const meets = items.some((message) => stored.some((turn) => turn.runId === message.run_id));
    if (stored.length > 0 && items.length > 0 && !meets) {
      // So much was missed that there is a gap; what is before it is read again when somebody scrolls there.
      this.turns = this.turns.filter((turn) => !stored.includes(turn));
      this.cursor = next_cursor;
    }
    if (this.cursor === undefined) this.cursor = next_cursor;
    await this.#merge(items);
  }

  /** Reads the page before the oldest one. */
  async older() {
    if (!this.cursor) return;
    const { items, next_cursor } = await conversations.messages(this.id, this.cursor);
    this.cursor = next_cursor;
    await this.#merge(items);
  }

  send(text) {
    const item = outbox.add(this.key, this.id, text);
    if (!this.turns.some((turn) => turn.key === item.key)) this.#pending(item);
  }

  /** Takes back a message that was not sent; gives its text. */
  takeBack(turn) {
    outbox.remove(turn.key);
    this.turns = this.turns.filter((other) => other !== turn);
    this.changed.tell();
    outbox.send(this.key);
    return turn.text;
  }

  sendAgain(turn) {
    turn.state = 'sending';
    turn.changed.tell();
    outbox.send(this.key);
  }

  /** The run that is under way, or the next that will be. */
  get active() {
    return this.turns.find((turn) => turn.isOpen) ?? null;
  }

  async stop(turn) {
    turn.stopping = true;
    turn.changed.tell();
    try {
      const { body } = await runs.cancel(turn.runId);
      turn.take(body);
    } catch (problem) {
      turn.stopping = false;
      turn.changed.tell();
      throw problem;
    }
  }

  /** Says yes or no to a call that waits for it. */
  async decide(turn, id, approve) {
    const { heard } = turn;
    try {
      const { body } = await runs.decide(turn.runId, id, approve);
      // The socket may have told more before this answer.
      if (turn.heard === heard) turn.take(body);
    } catch (problem) {
      // Somebody else has decided, or the time for it is over: what stands is shown.
      if (problem.status === 404 || problem.status === 409) await this.#look(turn);
      throw problem;
    }
  }

  async retry(turn) {
    const { heard } = turn;
    await runs.retry(turn.runId);
    // The socket may have told more before this answer, even the end.
    if (turn.heard === heard) turn.reopen();
    if (turn.isOpen) live.watch(turn);
    this.changed.tell();
  }

  #pending(item) {
    this.turns.push(new Turn({ key: item.key, text: item.text, at: item.at, state: 'sending' }));
    this.changed.tell();
  }

  #told(item, news, about) {
    const turn = this.turns.find((one) => one.key === item.key);
    if (!turn) {
      // Sent from here before the conversation was left and opened again.
      if (news === 'accepted' && about.conversationId === this.id) this.#catchUp();
      return;
    }
    if (news === 'accepted') {
      this.#take(turn, about);
      return;
    }
    turn.state = news === 'unsent' ? 'unsent' : 'sending';
    turn.problem = news === 'sending' ? null : about;
    turn.changed.tell();
  }

  #take(turn, { runId, conversationId }) {
    if (!this.id) {
      this.id = conversationId;
      this.key = conversationId;
      this.named.tell(conversationId);
    }
    const known = this.turns.find((other) => other.runId === runId && other !== turn);
    if (known) {
      // It was heard of before the word that it was taken.
      known.text ??= turn.text;
      known.changed.tell();
      this.turns = this.turns.filter((other) => other !== turn);
    } else {
      Object.assign(turn, { runId, problem: null, state: 'queued' });
      turn.changed.tell();
      live.watch(turn);
    }
    this.#catchUp();
    this.changed.tell();
  }

  #hear(event) {
    if (event.conversation_id !== this.id || !this.id) return;
    let turn = this.turns.find((one) => one.runId === event.run_id);
    if (!turn) {
      // Of another tab or device: what was said is in the messages. Or of the message that is just being sent, which
      // is taken up, and the others with it, once that has its word.
      if (event.type === 'looked' || this.turns.some((one) => one.state === 'sending' && one.problem === null)) return;
      turn = new Turn({ runId: event.run_id, state: 'queued' });
      this.turns.push(turn);
      live.watch(turn);
      this.#catchUp();
      this.changed.tell();
    }
    const was = turn.state;
    turn.hear(event);
    if (turn.isFinal) live.unwatch(turn.runId);
    else if (was !== turn.state) live.watch(turn);
    if (was !== turn.state) this.changed.tell();
  }

  async #merge(messages) {
    for (const message of messages) {
      let turn = this.turns.find((one) => one.runId === message.run_id);
      if (!turn) {
        turn = new Turn({ runId: message.run_id });
        this.turns.push(turn);
      }
      turn.store(message);
    }
    this.turns.sort((one, other) => one.seq - other.seq);
    this.changed.tell();
    for (const turn of this.turns.filter((one) => one.state === 'unknown' || one.isOpen)) {
      if (turn.runId) await this.#look(turn);
    }
    this.changed.tell();
  }

  async #look(turn) {
    turn.take(await runs.look(turn.runId));
    if (turn.isOpen) live.watch(turn);
    else live.unwatch(turn.runId);
  }

}
