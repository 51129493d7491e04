// The list of conversations, newest first: opens, renames and deletes them.

import { coalesce } from '../async.js';
import { h, icon, iconButton, setChildren } from '../dom.js';
import { conversations } from '../net/api.js';
import { live } from '../net/live.js';
import { confirmDialog, promptDialog } from './dialog.js';
import { tryAction } from './toast.js';

/** Events that change the order of the list or whether a run is in progress. */
const LIST_EVENTS = new Set(['run.queued', 'run.started', 'run.succeeded', 'run.failed', 'run.cancelled']);

export class ConversationsView {
  #items = [];
  #cursor = null;
  #openId = null;
  #list = h('ul', { class: 'conversations' });
  #status = h('p', { class: 'muted center' }, 'Loading…');
  #more = h('button', { type: 'button', class: 'button small wide', hidden: true, onclick: () => tryAction(() => this.#loadMore()) }, 'More');
  #cleanups = [];
  #refreshSoon = coalesce(() => this.refresh(), 150);

  /** `open(id)` opens a conversation, or a new one for null. `onTitle` receives the title of the open one. */
  constructor({ open, onTitle }) {
    Object.assign(this, { open, onTitle });
    this.element = h('nav', { 'aria-label': 'Conversations' },
      h('button', { type: 'button', id: 'new-chat', class: 'button wide', onclick: () => open(null) }, icon('plus'), 'New chat'),
      this.#list, this.#status, this.#more);
    this.#cleanups.push(
      live.events.on((event) => { if (LIST_EVENTS.has(event.type)) this.#refreshSoon(); }),
      live.changed.on((state) => { if (state === 'live') this.#refreshSoon(); }),
    );
  }

  close() {
    for (const cleanup of this.#cleanups) cleanup();
  }

  /** Loads the first page again and keeps the older pages. */
  async refresh() {
    try {
      const { items, next_cursor } = await conversations.page();
      const fresh = new Set(items.map(({ id }) => id));
      const older = this.#cursor === null ? [] : this.#items.slice(items.length).filter(({ id }) => !fresh.has(id));
      if (older.length === 0) this.#cursor = next_cursor;
      this.#items = [...items, ...older];
      this.#draw();
    } catch (error) {
      if (this.#items.length === 0) setChildren(this.#status, error.userMessage ?? 'The conversations could not be loaded.');
    }
  }

  /** Highlights the open conversation. */
  setOpen(id) {
    this.#openId = id;
    this.#draw();
    if (id && !this.#items.some((item) => item.id === id)) this.#refreshSoon();
  }

  async #loadMore() {
    const { items, next_cursor } = await conversations.page(this.#cursor);
    const known = new Set(this.#items.map(({ id }) => id));
    this.#items.push(...items.filter(({ id }) => !known.has(id)));
    this.#cursor = next_cursor;
    this.#draw();
  }

  #draw() {
    const focusedId = document.activeElement?.closest('[data-conversation]')?.dataset.conversation;
    setChildren(this.#list, this.#items.map((conversation) => this.#row(conversation)));
    if (focusedId) this.#list.querySelector(`[data-conversation="${focusedId}"] a`)?.focus();
    this.#status.hidden = this.#items.length > 0;
    setChildren(this.#status, 'No conversations yet.');
    this.#more.hidden = this.#cursor === null;
    const open = this.#items.find(({ id }) => id === this.#openId);
    this.onTitle(open?.title ?? null);
  }

  #row(conversation) {
    const { id, title } = conversation;
    const isOpen = id === this.#openId;
    return h('li', { class: isOpen ? 'conversation current' : 'conversation', 'data-conversation': id },
      h('a', { href: `#/c/${id}`, 'aria-current': isOpen ? 'page' : null },
        h('span', { class: 'conversation-title' }, title),
        h('span', { class: 'conversation-when' }, conversation.active_run_id && h('span', { class: 'spinner' }), timeAgo(conversation.updated_at))),
      iconButton('edit', `Rename ${title}`, () => this.#rename(conversation)),
      iconButton('delete', `Delete ${title}`, () => this.#delete(conversation)));
  }

  async #rename({ id, title }) {
    const newTitle = await promptDialog({ title: 'Rename the conversation', label: 'Title', value: title, action: 'Rename' });
    if (newTitle === null || newTitle === title) return;
    await tryAction(async () => { await conversations.rename(id, newTitle); });
    await this.refresh();
  }

  async #delete({ id, title }) {
    const confirmed = await confirmDialog({
      title: 'Delete the conversation?', text: `“${title}” and all its messages will be deleted. This can’t be undone. Your tasks are kept.`, action: 'Delete',
    });
    if (!confirmed || !await tryAction(() => conversations.delete(id))) return;
    this.#items = this.#items.filter((item) => item.id !== id);
    if (this.#openId === id) this.open(null);
    this.#draw();
  }
}

/** Units of time, in seconds. */
const UNITS = [['year', 31_536_000], ['month', 2_592_000], ['day', 86_400], ['hour', 3_600], ['minute', 60]];
const RELATIVE_TIME = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });

/** A time relative to now, such as “5 minutes ago”. */
function timeAgo(time) {
  const seconds = (Date.parse(time) - Date.now()) / 1000;
  const [unit, length] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? [];
  return unit ? RELATIVE_TIME.format(Math.round(seconds / length), unit) : 'now';
}
