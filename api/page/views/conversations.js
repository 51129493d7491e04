// The list of conversations: newest first, paged, to open, rename and delete.

import { fill, h, icon, iconButton } from '../dom.js';
import { gathered } from '../signal.js';
import { conversations } from '../net/api.js';
import { live } from '../net/live.js';
import { confirmed, lineOf, tried } from './notes.js';

/** After these a conversation stands elsewhere in the list, or has something under way. */
const MOVES = new Set(['run.queued', 'run.started', 'run.succeeded', 'run.failed', 'run.cancelled']);

export class ConversationsView {
  #items = [];
  #cursor = null;
  #open = null;
  #list = h('ul', { class: 'conversations' });
  #state = h('p', { class: 'soft center' }, 'Loading…');
  #more = h('button', { type: 'button', class: 'button small wide', hidden: true, onclick: () => tried(() => this.#next()) }, 'More');
  #closed = [];
  #soon = gathered(() => this.refresh(), 150);

  /** `go` opens a conversation, or a new one for null; `titled` is told the title of the open one. */
  constructor({ go, titled }) {
    Object.assign(this, { go, titled });
    this.element = h('nav', { 'aria-label': 'Conversations' },
      h('button', { type: 'button', id: 'new-chat', class: 'button wide', onclick: () => go(null) }, icon('plus'), 'New chat'),
      this.#list, this.#state, this.#more);
    this.#closed.push(
      live.events.on((event) => { if (MOVES.has(event.type)) this.#soon(); }),
      live.changed.on((state) => { if (state === 'live') this.#soon(); }),
    );
  }

  close() {
    for (const close of this.#closed) close();
  }

  /** Reads the first page again; what stands beyond it stays. */
  async refresh() {
    try {
      const { items, next_cursor } = await conversations.page();
      const fresh = new Set(items.map(({ id }) => id));
      const rest = this.#cursor === null ? [] : this.#items.slice(items.length).filter(({ id }) => !fresh.has(id));
      if (rest.length === 0) this.#cursor = next_cursor;
      this.#items = [...items, ...rest];
      this.#draw();
    } catch (fault) {
      if (this.#items.length === 0) fill(this.#state, fault.sentence ?? 'The list could not be read.');
    }
  }

  /** Marks the one that is open. */
  opened(id) {
    this.#open = id;
    this.#draw();
    if (id && !this.#items.some((one) => one.id === id)) this.#soon();
  }

  async #next() {
    const { items, next_cursor } = await conversations.page(this.#cursor);
    const known = new Set(this.#items.map(({ id }) => id));
    this.#items.push(...items.filter(({ id }) => !known.has(id)));
    this.#cursor = next_cursor;
    this.#draw();
  }

  #draw() {
    const focused = document.activeElement?.closest('[data-conversation]')?.dataset.conversation;
    fill(this.#list, this.#items.map((one) => this.#row(one)));
    if (focused) this.#list.querySelector(`[data-conversation="${focused}"] a`)?.focus();
    this.#state.hidden = this.#items.length > 0;
    fill(this.#state, 'No conversations yet.');
    this.#more.hidden = this.#cursor === null;
    const open = this.#items.find(({ id }) => id === this.#open);
    this.titled(open?.title ?? null);
  }

  #row(one) {
    const current = one.id === this.#open;
    return h('li', { class: current ? 'conversation current' : 'conversation', 'data-conversation': one.id },
      h('a', { href: `#/c/${one.id}`, 'aria-current': current ? 'page' : null },
        h('span', { class: 'conversation-title' }, one.title),
        h('span', { class: 'conversation-when' }, one.active_run_id && h('span', { class: 'spinner' }), ago(one.updated_at))),
      iconButton('pen', `Rename ${one.title}`, () => this.rename(one)),
      iconButton('bin', `Delete ${one.title}`, () => this.remove(one)));
  }

  async rename(one) {
    const title = await lineOf({ title: 'Rename the conversation', label: 'Title', value: one.title, action: 'Rename' });
    if (title === null || title === one.title) return;
    await tried(async () => { await conversations.rename(one.id, title); });
    await this.refresh();
  }

  async remove(one) {
    const sure = await confirmed({
      title: 'Delete the conversation?', text: `“${one.title}” goes with all its messages. Your tasks stay.`, action: 'Delete',
    });
    if (!sure || !await tried(() => conversations.remove(one.id))) return;
    this.#items = this.#items.filter(({ id }) => id !== one.id);
    if (this.#open === one.id) this.go(null);
    this.#draw();
  }
}

const UNITS = [['year', 31_536_000], ['month', 2_592_000], ['day', 86_400], ['hour', 3_600], ['minute', 60]];
const words = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });

/** How long ago a time is, in words. */
export function ago(time) {
  const seconds = (Date.parse(time) - Date.now()) / 1000;
  const [unit, length] = UNITS.find(([, one]) => Math.abs(seconds) >= one) ?? [];
  return unit ? words.format(Math.round(seconds / length), unit) : 'now';
}
