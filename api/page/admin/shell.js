// The frame of the admin page: navigation at the top and the selected section below.

import { h, iconButton, setChildren } from '../dom.js';
import { session } from '../net/session.js';
import { tryAction } from '../views/toast.js';
import { CapacityView } from './capacity.js';
import { shortId } from './format.js';
import { OverviewView } from './overview.js';
import { RunView } from './run.js';
import { RunsView } from './runs.js';
import { WorkersView } from './workers.js';

/** The path of each section in the address, its label and its view. */
const SECTIONS = [
  ['', 'Overview', () => new OverviewView()],
  ['runs', 'Runs', (filter) => new RunsView(filter)],
  ['dead', 'Dead letters', (filter) => new RunsView({ ...filter, status: 'failed' }, true)],
  ['workers', 'Workers', () => new WorkersView()],
  ['capacity', 'Capacity', () => new CapacityView()],
];

export class AdminShell {
  #view = null;
  #links = SECTIONS.map(([path, label]) => h('a', { href: `#/${path}` }, label));
  #title = h('h1', { tabindex: '-1' });
  #stale = h('p', { class: 'callout bad', role: 'status', hidden: true });
  #main = h('main', { class: 'admin-main', id: 'main' });
  #closed = new AbortController();

  constructor(root) {
    const { user } = session;
    setChildren(root,
      h('a', { class: 'skip', href: '#main', onclick: (event) => { event.preventDefault(); this.#title.focus(); } }, 'Skip to the content'),
      h('header', { class: 'admin-top' },
        h('a', { class: 'admin-brand', href: '/' }, h('img', { src: '/page/icon.svg', alt: '', width: 24, height: 24 }), 'Errand'),
        h('nav', { 'aria-label': 'Sections' }, this.#links),
        h('span', { class: 'admin-user' }, user.email ?? user.name),
        iconButton('theme', 'Switch between light and dark', () => globalThis.errandTheme.toggle(), { id: 'theme' }),
        iconButton('sign-out', 'Sign out', () => tryAction(() => session.signOut()), { id: 'sign-out' })),
      this.#main);
    addEventListener('hashchange', () => this.#route(true), { signal: this.#closed.signal });
    this.#route(false);
  }

  close() {
    this.#closed.abort();
    this.#view?.close();
  }

  /** Shows the view of the current address; `navigated` is false for the first one. */
  #route(navigated) {
    this.#view?.close();
    const [, path = '', id = '', query = ''] = /^#\/([a-z]*)(?:\/([0-9a-f-]{36}))?(?:\?(.*))?$/.exec(location.hash) ?? [];
    const section = SECTIONS.find(([key]) => key === path) ?? SECTIONS[0];
    const isRun = path === 'run' && id !== '';
    const title = isRun ? `Run ${shortId(id)}` : section[1];
    const view = isRun ? new RunView(id) : section[2](Object.fromEntries(new URLSearchParams(query)));
    this.#view = view;
    this.#title.textContent = title;
    document.title = `${title} – Errand admin`;
    this.#links.forEach((link, index) => {
      if (!isRun && SECTIONS[index] === section) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
    });
    this.#stale.hidden = true;
    view.poller.errorChanged.on((error) => {
      this.#stale.hidden = error === null;
      if (error) setChildren(this.#stale, `${error.userMessage ?? 'The data could not be loaded.'} The data shown may be out of date. Trying again…`);
    });
    setChildren(this.#main, this.#title, this.#stale, view.element);
    if (navigated) this.#title.focus();
  }
}
