// The page of somebody who is in: conversations to the left, the open one in the middle, tasks to the right.

import { fill, h, icon, iconButton } from '../dom.js';
import { forget } from '../keep.js';
import { outbox } from '../chat/outbox.js';
import { live } from '../net/live.js';
import { session } from '../net/session.js';
import { BannerView } from './banner.js';
import { ConversationsView } from './conversations.js';
import { Drawer } from './drawer.js';
import { confirmed, tried } from './notes.js';
import { TasksView } from './tasks.js';
import { ThreadView } from './thread.js';

/** How often what is seen is read again while no socket tells of it, in milliseconds. */
const READ_AGAIN = 15_000;

export class Shell {
  #root;
  #thread = null;
  #banner = new BannerView();
  #conversations = new ConversationsView({ go: (id) => this.#go(id), titled: (title) => this.#titled(title) });
  #tasks = new TasksView();
  #title = h('h1', { class: 'title' }, 'New chat');
  #middle = h('main', { class: 'middle' });
  #left = new Drawer('left', 'Conversations', [this.#conversations.element, this.#account()]);
  #right = new Drawer('right', 'Tasks', this.#tasks.element);
  #closed = new AbortController();

  constructor(root) {
    this.#root = root;
    const top = h('header', { class: 'top' },
      iconButton('menu', 'Conversations', () => this.#left.open(), { class: 'icon-button open-left' }),
      this.#title,
      iconButton('list', 'Tasks', () => this.#right.open(), { class: 'icon-button open-right' }));
    fill(root, this.#banner.element, h('div', { class: 'shell' },
      this.#left.elements, h('div', { class: 'centre' }, top, this.#middle), this.#right.elements));
    const { signal } = this.#closed;
    addEventListener('hashchange', () => this.#route(), { signal });
    addEventListener('keydown', (event) => this.#key(event), { signal });
    document.addEventListener('visibilitychange', () => { if (!document.hidden) { live.retry(); this.#readAgain(); } }, { signal });
    const timer = setInterval(() => { if (live.state === 'polling' && !document.hidden) this.#readAgain(); }, READ_AGAIN);
    signal.addEventListener('abort', () => clearInterval(timer));
    live.start();
    this.#conversations.refresh();
    this.#tasks.refresh();
    this.#route();
    outbox.sendAll();
  }

  close() {
    this.#closed.abort();
    for (const part of [this.#thread, this.#banner, this.#conversations, this.#tasks]) part?.close();
    live.stop();
    this.#root.replaceChildren();
  }

  #go(id) {
    const hash = id ? `#/c/${id}` : '#/';
    if (location.hash === hash) this.#route();
    else location.hash = hash;
  }

  async #route() {
    const id = /^#\/c\/([0-9a-f-]{36})$/.exec(location.hash)?.[1] ?? null;
    this.#left.close();
    if (this.#thread && id !== null && this.#thread.thread.id === id) return;
    this.#thread?.close();
    // A conversation that gets its id while it is open stays open; only the address changes.
    const view = new ThreadView(id, (named) => {
      history.replaceState(null, '', `#/c/${named}`);
      this.#conversations.opened(named);
    });
    this.#thread = view;
    this.#titled(id ? '' : 'New chat');
    this.#conversations.opened(id);
    fill(this.#middle, view.element);
    view.composer.focus();
    try {
      await view.load();
    } catch (fault) {
      if (this.#thread === view && fault.status !== 401) this.#missing(fault);
    }
  }

  #missing(fault) {
    fill(this.#middle, h('div', { class: 'empty', role: 'alert' }, h('h2', {}, fault.sentence ?? 'That did not work.'),
      h('div', { class: 'row' },
        fault.status === 404 ? null : h('button', { type: 'button', class: 'button', onclick: () => { this.#thread?.close(); this.#thread = null; this.#route(); } }, icon('again'), 'Try again'),
        h('button', { type: 'button', class: 'button primary', onclick: () => this.#go(null) }, icon('plus'), 'New chat'))));
  }

  #titled(title) {
    const shown = title ?? (this.#thread?.thread.id ? '' : 'New chat');
    this.#title.textContent = shown;
    document.title = shown && shown !== 'New chat' ? `${shown} – Errand` : 'Errand';
  }

  #key(event) {
    if (event.key !== 'Escape' || event.defaultPrevented || document.querySelector('dialog[open]')) return;
    this.#thread?.stop();
  }

  #readAgain() {
    this.#conversations.refresh();
    this.#tasks.refresh();
    this.#thread?.refresh();
  }

  #account() {
    return h('div', { class: 'account' },
      h('div', { class: 'who' }, h('strong', {}, session.user.name), h('span', { class: 'soft' }, session.user.email)),
      iconButton('theme', 'Light or dark', () => globalThis.errandTheme.toggle(), { id: 'theme' }),
      iconButton('leave', 'Log out', () => this.#leave(), { id: 'log-out' }));
  }

  async #leave() {
    const losing = !outbox.isEmpty && !await confirmed({
      title: 'Log out?', text: 'Some messages have not been sent yet. They would be lost.', action: 'Log out',
    });
    if (losing) return;
    const { id } = session.user;
    // Not kept for whoever uses this browser next.
    if (await tried(() => session.leave())) forget(`${id}.`);
  }
}
