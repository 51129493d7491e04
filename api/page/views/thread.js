// The conversation that is open: its turns, paging upwards, following the end while one is there.

import { fill, h, icon } from '../dom.js';
import { Thread } from '../chat/thread.js';
import { live } from '../net/live.js';
import { Composer } from './composer.js';
import { tried } from './notes.js';
import { TurnView } from './turn.js';

/** How near the end counts as there, in pixels. */
const NEAR = 80;

const IDEAS = ['Add a task to buy milk and bread', 'What is on my list?', 'Mark task 1 as done', 'Rename task 2 to “Call Ann”'];

export class ThreadView {
  #views = new Map();
  #list = h('div', { class: 'turns' });
  #older = h('button', { type: 'button', class: 'button small older', hidden: true, onclick: () => this.#loadOlder() }, 'Earlier messages');
  #empty = h('div', { class: 'empty', hidden: true });
  #loading = h('p', { class: 'working', role: 'status' }, h('span', { class: 'spinner' }), 'Loading the conversation…');
  #scroller = h('div', { class: 'scroller', tabindex: -1 }, this.#older, this.#loading, this.#empty, this.#list);
  #toEnd = h('button', { type: 'button', class: 'round to-end', 'aria-label': 'To the end', title: 'To the end', hidden: true, onclick: () => this.#follow(true) }, icon('down'));
  #said = h('p', { class: 'quiet', 'aria-live': 'polite', id: 'said' });
  #follows = true;
  #busy = false;
  #closed = [];
  #watch;

  /** `named` is told the id of a new conversation. */
  constructor(id, named) {
    this.thread = new Thread(id);
    this.composer = new Composer({ place: () => this.thread.id ?? 'new', send: (text) => this.#send(text), stop: () => this.stop() });
    this.element = h('div', { class: 'thread' }, this.#scroller, this.#toEnd, this.composer.element, this.#said);
    this.#closed.push(
      this.thread.changed.on(() => this.#draw()),
      this.thread.named.on((given) => { this.composer.moved('new'); named(given); }),
      live.changed.on((state) => { if (state === 'live' && this.thread.id) this.thread.refresh().catch(() => {}); }),
    );
    this.#scroller.addEventListener('scroll', () => this.#scrolled());
    this.#watch = new ResizeObserver(() => { if (this.#follows) this.#follow(); });
    this.#watch.observe(this.#list);
    this.#watch.observe(this.#scroller);
    this.#draw();
  }

  /** Reads the conversation; throws its problem. */
  async load() {
    await this.thread.load();
    this.#loading.remove();
    this.#draw();
    // Not of whoever has scrolled up while the runs were looked at.
    if (this.#follows) this.#follow();
  }

  close() {
    for (const close of this.#closed) close();
    for (const view of this.#views.values()) view.close();
    this.#watch.disconnect();
    this.thread.close();
  }

  /** Reads what may have been missed. */
  refresh() {
    if (this.thread.id) this.thread.refresh().catch(() => {});
  }

  async stop() {
    const turn = this.thread.active;
    if (turn && !turn.stopping) await tried(() => this.thread.stop(turn));
  }

  #send(text) {
    this.#follows = true;
    this.thread.send(text);
  }

  #draw() {
    const { thread } = this;
    for (const [turn, view] of this.#views) {
      if (thread.turns.includes(turn)) continue;
      view.close();
      this.#views.delete(turn);
    }
    const below = this.#busy && this.#scroller.scrollHeight - this.#scroller.scrollTop;
    let at = this.#list.firstChild;
    for (const turn of thread.turns) {
      const view = this.#viewOf(turn);
      if (view.element === at) at = at.nextSibling;
      else this.#list.insertBefore(view.element, at);
      view.update();
    }
    this.#older.hidden = !thread.cursor;
    // What is in sight stays where it is when earlier turns come above it.
    if (this.#busy) this.#scroller.scrollTop = this.#scroller.scrollHeight - below;
    const empty = thread.turns.length === 0 && thread.cursor === null;
    if (this.#empty.hidden === empty) {
      this.#empty.hidden = !empty;
      fill(this.#empty, empty && this.#ideas());
    }
    this.composer.running(thread.active);
  }

  #viewOf(turn) {
    const known = this.#views.get(turn);
    if (known) return known;
    const view = new TurnView(turn, this.thread, this.composer, (one) => this.thread.turns.at(-1) === one);
    this.#views.set(turn, view);
    let was = turn.state;
    this.#closed.push(turn.changed.on(() => {
      if (turn.state === 'waiting_approval' && was !== turn.state) this.#said.textContent = 'Errand needs your approval.';
      if (turn.state === 'succeeded' && ['queued', 'running'].includes(was)) this.#said.textContent = `Errand: ${turn.answer}`;
      if (turn.state === 'failed' && was !== 'failed') this.#said.textContent = turn.failure ?? 'The run failed.';
      was = turn.state;
      this.composer.running(this.thread.active);
    }));
    return view;
  }

  #ideas() {
    return [h('h2', {}, 'What is there to do?'),
      h('p', { class: 'soft' }, 'Errand keeps your list. Tell it in your own words, for example:'),
      h('ul', { class: 'ideas' }, IDEAS.map((idea) => h('li', {},
        h('button', { type: 'button', class: 'idea', onclick: () => this.composer.put(idea) }, idea))))];
  }

  async #loadOlder() {
    if (this.#busy) return;
    this.#busy = true;
    this.#older.disabled = true;
    await tried(() => this.thread.older());
    this.#older.disabled = false;
    this.#busy = false;
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#follows = scrollHeight - scrollTop - clientHeight < NEAR;
    this.#toEnd.hidden = this.#follows;
    if (scrollTop < NEAR && this.thread.cursor && scrollHeight > clientHeight) this.#loadOlder();
  }

  #follow(now = false) {
    if (now) this.#follows = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }
}
