// The page of a signed-in user: conversations on the left, the open one in the centre, tasks on the right.

import { outbox } from '../chat/outbox.js';
import { h, icon, iconButton, setChildren } from '../dom.js';
import { live } from '../net/live.js';
import { session } from '../net/session.js';
import { removeItems } from '../storage.js';
import { BannerView } from './banner.js';
import { ConversationsView } from './conversations.js';
import { confirmDialog } from './dialog.js';
import { Drawer } from './drawer.js';
import { TasksView } from './tasks.js';
import { ThreadView } from './thread.js';
import { tryAction } from './toast.js';

/** How often everything is loaded again while there is no WebSocket, in milliseconds. */
const POLL_INTERVAL = 15_000;

export class Shell {
  #root;
  #thread = null;
  #banner = new BannerView();
  #conversations = new ConversationsView({ open: (id) => this.#open(id), onTitle: (title) => this.#setTitle(title) });
  #tasks = new TasksView();
  #title = h('h1', { class: 'title' }, 'New chat');
  #main = h('main', { class: 'middle' });
  #left = new Drawer('left', 'Conversations', [this.#conversations.element, this.#account()]);
  #right = new Drawer('right', 'Tasks', this.#tasks.element);
  #closed = new AbortController();

  constructor(root) {
    this.#root = root;
    const top = h('header', { class: 'top' },
      iconButton('menu', 'Conversations', () => this.#left.open(), { class: 'icon-button open-left' }),
      this.#title,
      iconButton('list', 'Tasks', () => this.#right.open(), { class: 'icon-button open-right' }));
    const skip = (event) => { event.preventDefault(); this.#thread?.composer.focus(); };
    setChildren(root, h('a', { class: 'skip', href: '#message', onclick: skip }, 'Skip to the message box'),
      this.#banner.element, h('div', { class: 'shell' },
      this.#left.elements, h('div', { class: 'centre' }, top, this.#main), this.#right.elements));
    const { signal } = this.#closed;
    addEventListener('hashchange', () => this.#route(), { signal });
    addEventListener('keydown', (event) => this.#onKeydown(event), { signal });
    document.addEventListener('visibilitychange', () => { if (!document.hidden) { live.reconnect(); this.#refresh(); } }, { signal });
    const timer = setInterval(() => { if (live.state === 'polling' && !document.hidden) this.#refresh(); }, POLL_INTERVAL);
    signal.addEventListener('abort', () => clearInterval(timer));
    live.start();
    this.#conversations.refresh();
    this.#tasks.refresh();
    this.#route();
    outbox.sendAll();
  }

  close() {
    this.#closed.abort();
    for (const view of [this.#thread, this.#banner, this.#conversations, this.#tasks]) view?.close();
    live.stop();
    this.#root.replaceChildren();
  }

  #open(id) {
    const hash = id ? `#/c/${id}` : '#/';
    if (location.hash === hash) this.#route();
    else location.hash = hash;
  }

  async #route() {
    const id = /^#\/c\/([0-9a-f-]{36})$/.exec(location.hash)?.[1] ?? null;
    this.#left.close();
    if (this.#thread && id !== null && this.#thread.thread.id === id) return;
    this.#thread?.close();
    // A new conversation stays open when it gets its id; only the address changes.
    const view = new ThreadView(id, (newId) => {
      history.replaceState(null, '', `#/c/${newId}`);
      this.#conversations.setOpen(newId);
    });
    this.#thread = view;
    this.#setTitle(id ? '' : 'New chat');
    this.#conversations.setOpen(id);
    setChildren(this.#main, view.element);
    view.composer.focus();
    try {
      await view.load();
    } catch (error) {
      if (this.#thread === view && error.status !== 401) this.#showLoadError(error);
    }
  }

  #showLoadError(error) {
    const retry = () => { this.#thread?.close(); this.#thread = null; this.#route(); };
    setChildren(this.#main, h('div', { class: 'empty', role: 'alert' },
      error.status === 404
        ? [h('h2', {}, 'Conversation not found'), h('p', { class: 'muted' }, 'It may have been deleted.')]
        : h('h2', {}, error.userMessage ?? 'The conversation could not be loaded.'),
      h('div', { class: 'row' },
        error.status === 404 ? null : h('button', { type: 'button', class: 'button', onclick: retry }, icon('retry'), 'Try again'),
        h('button', { type: 'button', class: 'button primary', onclick: () => this.#open(null) }, icon('plus'), 'New chat'))));
  }

  #setTitle(title) {
    const shown = title ?? (this.#thread?.thread.id ? '' : 'New chat');
    this.#title.textContent = shown;
    document.title = shown && shown !== 'New chat' ? `${shown} – Errand` : 'Errand';
  }

  #onKeydown(event) {
    if (event.key !== 'Escape' || event.defaultPrevented || document.querySelector('dialog[open]')) return;
    // In the task panel, Escape is about the field that has the focus.
    if (this.#right.panel.contains(event.target)) return;
    this.#thread?.stop();
  }

  #refresh() {
    this.#conversations.refresh();
    this.#tasks.refresh();
    this.#thread?.refresh();
  }

  #account() {
    return h('div', { class: 'account' },
      h('div', { class: 'account-name' }, h('strong', {}, session.user.name), h('span', { class: 'muted' }, session.user.email)),
      iconButton('theme', 'Switch between light and dark', () => globalThis.errandTheme.toggle(), { id: 'theme' }),
      iconButton('sign-out', 'Sign out', () => this.#signOut(), { id: 'sign-out' }));
  }

  async #signOut() {
    const isCancelled = !outbox.isEmpty && !await confirmDialog({
      title: 'Sign out?', text: 'Some messages have not been sent yet and will be lost.', action: 'Sign out',
    });
    if (isCancelled) return;
    const { id } = session.user;
    // The next user of this browser must not find drafts or unsent messages.
    if (await tryAction(() => session.signOut())) removeItems(`${id}.`);
  }
}
