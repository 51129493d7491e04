// The open conversation as the page shows it: its turns in order, including messages that are still being sent. A new
// thread has no conversation until its first message is accepted.

import { Emitter, coalesce } from '../async.js';
import { conversations, runs } from '../net/api.js';
import { live } from '../net/live.js';
import { newKey, outbox } from './outbox.js';
import { Turn } from './turn.js';

/** The key of a thread that has no conversation starts with this. */
const NEW_THREAD = 'new-';

export class Thread {
  /** Emitted after turns were added, removed or reordered, or a run changed its state. */
  changed = new Emitter();
  /** Emits the id of a new conversation. */
  created = new Emitter();
  turns = [];
  /** Where the next older page starts: undefined before the first page was loaded, null if there is no older page. */
  cursor;
  #cleanups = [];
  #refreshSoon = coalesce(() => this.refresh().catch(() => {}), 120);

  /** `id` is the conversation, or null for a new one. */
  constructor(id) {
    this.id = id;
    this.key = id ?? outbox.newThread ?? NEW_THREAD + newKey();
    for (const item of outbox.itemsOf(this.key)) this.#addUnsent(item);
    this.#cleanups.push(
      outbox.changed.on((item, status, data) => this.#onDelivery(item, status, data)),
      live.events.on((event) => this.#onEvent(event)),
    );
  }

  close() {
    for (const cleanup of this.#cleanups) cleanup();
    for (const turn of this.turns) if (turn.runId) live.unwatch(turn.runId);
  }

  /** Loads the newest page. */
  async load() {
    if (this.id) await this.refresh();
    else this.cursor = null;
  }

  /** Loads the newest page again and adds what is missing. */
  async refresh() {
    const { items, next_cursor } = await conversations.messages(this.id);
    const stored = this.turns.filter((turn) => turn.at !== null && turn.runId);
    const overlaps = items.some((message) => stored.some((turn) => turn.runId === message.run_id));
    if (stored.length > 0 && items.length > 0 && !overlaps) {
      // More than a page was missed. Drop the older turns: they are loaded again when the user scrolls up.
      this.turns = this.turns.filter((turn) => !stored.includes(turn));
      this.cursor = next_cursor;
    }
    if (this.cursor === undefined) this.cursor = next_cursor;
    await this.#merge(items);
  }

  /** Loads the next older page. */
  async loadOlder() {
    if (!this.cursor) return;
    const { items, next_cursor } = await conversations.messages(this.id, this.cursor);
    this.cursor = next_cursor;
    await this.#merge(items);
  }

  send(text) {
    const item = outbox.add(this.key, this.id, text);
    if (!this.turns.some((turn) => turn.key === item.key)) this.#addUnsent(item);
  }

  /** Removes an unsent message and returns its text. */
  withdraw(turn) {
    outbox.remove(turn.key);
    this.turns = this.turns.filter((other) => other !== turn);
    this.changed.emit();
    outbox.send(this.key);
    return turn.text;
  }

  resend(turn) {
    turn.state = 'sending';
    turn.changed.emit();
    outbox.send(this.key);
  }

  /** The turn whose run is in progress or next in the queue, or null. */
  get activeTurn() {
    return this.turns.find((turn) => turn.isOpen) ?? null;
  }

  async stop(turn) {
    turn.stopping = true;
    turn.changed.emit();
    try {
      const { body } = await runs.cancel(turn.runId);
      turn.applyRun(body);
    } catch (problem) {
      turn.stopping = false;
      turn.changed.emit();
      throw problem;
    }
  }

  /** Approves or declines a tool call. */
  async decide(turn, toolCallId, approve) {
    const { lastSeq } = turn;
    try {
      const { body } = await runs.decide(turn.runId, toolCallId, approve);
      // Events may have arrived before this response, which is older then.
      if (turn.lastSeq === lastSeq) turn.applyRun(body);
    } catch (problem) {
      // Already decided elsewhere, or expired: show the current state.
      if (problem.status === 404 || problem.status === 409) await this.#fetchRun(turn);
      throw problem;
    }
  }

  async retry(turn) {
    const { lastSeq } = turn;
    await runs.retry(turn.runId);
    // Events may have arrived before this response, even the end of the run.
    if (turn.lastSeq === lastSeq) turn.reopen();
    if (turn.isOpen) live.watch(turn);
    this.changed.emit();
  }

  #addUnsent(item) {
    this.turns.push(new Turn({ key: item.key, text: item.text, at: item.at, state: 'sending' }));
    this.changed.emit();
  }

  #onDelivery(item, status, data) {
    const turn = this.turns.find(({ key }) => key === item.key);
    if (!turn) {
      // Sent from this page before the conversation was closed and opened again.
      if (status === 'accepted' && data.conversationId === this.id) this.#refreshSoon();
      return;
    }
    if (status === 'accepted') {
      this.#onAccepted(turn, data);
      return;
    }
    turn.state = status === 'unsent' ? 'unsent' : 'sending';
    turn.problem = status === 'sending' ? null : data;
    turn.changed.emit();
  }

  #onAccepted(turn, { runId, conversationId }) {
    if (!this.id) {
      this.id = conversationId;
      this.key = conversationId;
      this.created.emit(conversationId);
    }
    const duplicate = this.turns.find((other) => other.runId === runId && other !== turn);
    if (duplicate) {
      // An event of the run arrived before the acknowledgement and created a turn.
      duplicate.text ??= turn.text;
      duplicate.changed.emit();
      this.turns = this.turns.filter((other) => other !== turn);
    } else {
      Object.assign(turn, { runId, problem: null, state: 'queued' });
      turn.changed.emit();
      live.watch(turn);
    }
    this.#refreshSoon();
    this.changed.emit();
  }

  #onEvent(event) {
    if (event.conversation_id !== this.id || !this.id) return;
    let turn = this.turns.find(({ runId }) => runId === event.run_id);
    if (!turn) {
      // The run was started in another tab or on another device, and `refresh` loads its message. Or it belongs to the
      // message that is being sent: its acknowledgement then adds the run and refreshes.
      const isSending = this.turns.some(({ state, problem }) => state === 'sending' && problem === null);
      if (event.type === 'run.snapshot' || isSending) return;
      turn = new Turn({ runId: event.run_id, state: 'queued' });
      this.turns.push(turn);
      live.watch(turn);
      this.#refreshSoon();
      this.changed.emit();
    }
    const previous = turn.state;
    turn.applyEvent(event);
    if (turn.isFinal) live.unwatch(turn.runId);
    else if (previous !== turn.state) live.watch(turn);
    if (previous !== turn.state) this.changed.emit();
  }

  async #merge(messages) {
    for (const message of messages) {
      let turn = this.turns.find(({ runId }) => runId === message.run_id);
      if (!turn) {
        turn = new Turn({ runId: message.run_id });
        this.turns.push(turn);
      }
      turn.applyMessage(message);
    }
    this.turns.sort((a, b) => a.position - b.position);
    this.changed.emit();
    for (const turn of this.turns.filter(({ state, isOpen }) => state === 'unknown' || isOpen)) {
      if (turn.runId) await this.#fetchRun(turn);
    }
    this.changed.emit();
  }

  async #fetchRun(turn) {
    turn.applyRun(await runs.get(turn.runId));
    if (turn.isOpen) live.watch(turn);
    else live.unwatch(turn.runId);
  }
}
