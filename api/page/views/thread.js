// The open conversation: its turns and the message box. Loads older messages when the user scrolls up, and keeps the end
// in view while the user is there.

import { Thread } from '../chat/thread.js';
import { h, icon, setChildren } from '../dom.js';
import { live } from '../net/live.js';
import { Composer } from './composer.js';
import { tryAction } from './toast.js';
import { TurnView } from './turn.js';

/** The user counts as being at the top or the end within this many pixels of it. */
const NEAR = 80;

const SUGGESTIONS = ['Add a task to buy milk and bread', 'What is on my list?', 'Mark task 1 as done', 'Rename task 2 to “Call Ann”'];

export class ThreadView {
  #views = new Map();
  #list = h('div', { class: 'turns' });
  #older = h('button', { type: 'button', class: 'button small older', hidden: true, onclick: () => this.#loadOlder() }, 'Earlier messages');
  #empty = h('div', { class: 'empty', hidden: true });
  #loading = h('p', { class: 'working', role: 'status' }, h('span', { class: 'spinner' }), 'Loading the conversation…');
  #scroller = h('div', { class: 'scroller', tabindex: -1 }, this.#older, this.#loading, this.#empty, this.#list);
  #toEnd = h('button', { type: 'button', class: 'round to-end', 'aria-label': 'Scroll to the end', title: 'Scroll to the end', hidden: true, onclick: () => this.#scrollToEnd() }, icon('down'));
  #announcement = h('p', { class: 'visually-hidden', 'aria-live': 'polite', id: 'announcement' });
  #followsEnd = true;
  /** The size of the conversation when it was last measured. */
  #size = { scrollHeight: 0, clientHeight: 0 };
  #loadingOlder = false;
  #cleanups = [];
  #resizes;

  /** `onCreated` receives the id of a new conversation. */
  constructor(id, onCreated) {
    this.thread = new Thread(id);
    this.composer = new Composer({ draftKey: () => this.thread.id ?? 'new', send: (text) => this.#send(text), stop: () => this.stop() });
    this.element = h('div', { class: 'thread' }, this.#scroller, this.#toEnd, this.composer.element, this.#announcement);
    this.#cleanups.push(
      this.thread.changed.on(() => this.#draw()),
      this.thread.created.on((newId) => { this.composer.moveDraft('new'); onCreated(newId); }),
      live.changed.on((state) => { if (state === 'live') this.refresh(); }),
    );
    this.#scroller.addEventListener('scroll', () => this.#onScroll());
    this.#resizes = new ResizeObserver(() => {
      this.#measure();
      if (this.#followsEnd) this.#scrollToEnd();
    });
    this.#resizes.observe(this.#list);
    this.#resizes.observe(this.#scroller);
    this.#draw();
  }

  /** Loads the conversation. Throws the problem if that fails. */
  async load() {
    await this.thread.load();
    this.#loading.remove();
    this.#draw();
    // The user may have scrolled up while the conversation was loading.
    if (this.#followsEnd) this.#scrollToEnd();
  }

  close() {
    for (const cleanup of this.#cleanups) cleanup();
    for (const view of this.#views.values()) view.close();
    this.#resizes.disconnect();
    this.thread.close();
  }

  /** Loads messages that may have been missed. */
  refresh() {
    if (this.thread.id) this.thread.refresh().catch(() => {});
  }

  /** Stops the active run. */
  async stop() {
    const turn = this.thread.activeTurn;
    if (turn && !turn.stopping) await tryAction(() => this.thread.stop(turn));
  }

  #send(text) {
    this.#followsEnd = true;
    this.thread.send(text);
  }

  #draw() {
    const { thread } = this;
    for (const [turn, view] of this.#views) {
      if (thread.turns.includes(turn)) continue;
      view.close();
      this.#views.delete(turn);
    }
    const distanceFromEnd = this.#loadingOlder && this.#scroller.scrollHeight - this.#scroller.scrollTop;
    let next = this.#list.firstChild;
    for (const turn of thread.turns) {
      const view = this.#viewOf(turn);
      if (view.element === next) next = next.nextSibling;
      else this.#list.insertBefore(view.element, next);
      view.update();
    }
    this.#older.hidden = !thread.cursor;
    // Keep the visible turns in place when older turns are inserted above them.
    if (this.#loadingOlder) this.#scroller.scrollTop = this.#scroller.scrollHeight - distanceFromEnd;
    const isEmpty = thread.turns.length === 0 && thread.cursor === null;
    if (this.#empty.hidden === isEmpty) {
      this.#empty.hidden = !isEmpty;
      setChildren(this.#empty, isEmpty && this.#welcome());
    }
    this.composer.setActiveTurn(thread.activeTurn);
  }

  #viewOf(turn) {
    const known = this.#views.get(turn);
    if (known) return known;
    const view = new TurnView(turn, this.thread, this.composer);
    this.#views.set(turn, view);
    let previous = turn.state;
    this.#cleanups.push(turn.changed.on(() => {
      this.#announce(turn, previous);
      previous = turn.state;
      this.composer.setActiveTurn(this.thread.activeTurn);
    }));
    return view;
  }

  /** Announces a new state of a run to screen readers. */
  #announce({ state, answer }, previous) {
    if (state === previous) return;
    if (state === 'waiting_approval') this.#announcement.textContent = 'Errand needs your approval.';
    if (state === 'succeeded' && ['queued', 'running'].includes(previous)) this.#announcement.textContent = `Errand: ${answer}`;
    if (state === 'failed') this.#announcement.textContent = 'Errand couldn’t answer this message.';
  }

  #welcome() {
    return [h('h2', {}, 'What do you need to do?'),
      h('p', { class: 'muted' }, 'Errand keeps your to-do list. Use your own words, for example:'),
      h('ul', { class: 'suggestions' }, SUGGESTIONS.map((suggestion) => h('li', {},
        h('button', { type: 'button', class: 'suggestion', onclick: () => this.composer.insert(suggestion) }, suggestion))))];
  }

  async #loadOlder() {
    if (this.#loadingOlder) return;
    this.#loadingOlder = true;
    this.#older.disabled = true;
    await tryAction(() => this.thread.loadOlder());
    this.#older.disabled = false;
    this.#loadingOlder = false;
  }

  #onScroll() {
    if (this.#measure() && this.#followsEnd) {
      // New content or the size of the message box moved the end, not the user.
      this.#scrollToEnd();
      return;
    }
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#followsEnd = scrollHeight - scrollTop - clientHeight < NEAR;
    this.#toEnd.hidden = this.#followsEnd;
    if (scrollTop < NEAR && this.thread.cursor && scrollHeight > clientHeight) this.#loadOlder();
  }

  /** Measures the conversation. Returns whether its size has changed. */
  #measure() {
    const { scrollHeight, clientHeight } = this.#scroller;
    const changed = scrollHeight !== this.#size.scrollHeight || clientHeight !== this.#size.clientHeight;
    this.#size = { scrollHeight, clientHeight };
    return changed;
  }

  #scrollToEnd() {
    this.#followsEnd = true;
    this.#toEnd.hidden = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#measure();
  }
}
