// The page of an admin: places to go at the top, one of them below.

import { fill, h, iconButton } from '../dom.js';
import { session } from '../net/session.js';
import { tried } from '../views/notes.js';
import { CapacityView } from './capacity.js';
import { OverviewView } from './overview.js';
import { RunView } from './run.js';
import { RunsView } from './runs.js';
import { WorkersView } from './workers.js';

const PLACES = [
  ['', 'Overview', () => new OverviewView()],
  ['runs', 'Runs', (which) => new RunsView(which)],
  ['dead', 'Dead letters', (which) => new RunsView({ ...which, status: 'failed' }, true)],
  ['workers', 'Workers', () => new WorkersView()],
  ['capacity', 'Capacity', () => new CapacityView()],
];

export class AdminShell {
  #view = null;
  #links = PLACES.map(([place, label]) => h('a', { href: `#/${place}` }, label));
  #title = h('h1', { tabindex: '-1' });
  #stale = h('p', { class: 'callout bad', role: 'status', hidden: true });
  #main = h('main', { class: 'admin-main', id: 'main' });
  #closed = new AbortController();

  constructor(root) {
    const { user } = session;
    fill(root,
      h('a', { class: 'skip', href: '#main', onclick: (event) => { event.preventDefault(); this.#title.focus(); } }, 'Skip to the content'),
      h('header', { class: 'admin-top' },
        h('a', { class: 'admin-brand', href: '/' }, h('img', { src: '/page/icon.svg', alt: '', width: 24, height: 24 }), 'Errand'),
        h('nav', { 'aria-label': 'Places' }, this.#links),
        h('span', { class: 'admin-who' }, user.email ?? user.name),
        iconButton('theme', 'Light or dark', () => globalThis.errandTheme.toggle(), { id: 'theme' }),
        iconButton('leave', 'Log out', () => tried(() => session.leave()), { id: 'log-out' })),
      this.#main);
    addEventListener('hashchange', () => this.#route(true), { signal: this.#closed.signal });
    this.#route(false);
  }

  close() {
    this.#closed.abort();
    this.#view?.close();
  }

  #route(moved) {
    this.#view?.close();
    const [, place = '', id = '', asked = ''] = /^#\/([a-z]*)(?:\/([0-9a-f-]{36}))?(?:\?(.*))?$/.exec(location.hash) ?? [];
    const [key, label, make] = PLACES.find(([one]) => one === place) ?? PLACES[0];
    const view = place === 'run' && id ? new RunView(id) : make(Object.fromEntries(new URLSearchParams(asked)));
    const title = view instanceof RunView ? 'A run' : label;
    this.#view = view;
    this.#title.textContent = title;
    document.title = `${title} – Errand for admins`;
    this.#links.forEach((link, index) => {
      if (!(view instanceof RunView) && PLACES[index][0] === key) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
    });
    this.#stale.hidden = true;
    view.poll.troubled.on((fault) => {
      this.#stale.hidden = fault === null;
      if (fault) fill(this.#stale, `${fault.sentence ?? 'That could not be read.'} What is shown may be old; trying again.`);
    });
    fill(this.#main, this.#title, this.#stale, view.element);
    if (moved) this.#title.focus();
  }
}
