// The workers: where they are, what they hold, and whether they take more.

import { fill, h } from '../dom.js';
import { admin } from '../net/admin.js';
import { confirmed, tried } from '../views/notes.js';
import { meter } from './chart.js';
import { isAlive } from './overview.js';
import { Poll } from './poll.js';
import { clock, count, short, span } from './words.js';

/** Distance of looks, in milliseconds. */
const EVERY = 2_000;

export class WorkersView {
  #rows = h('tbody');
  #none = h('p', { class: 'soft', hidden: true }, 'There is no worker. Messages are taken, and wait until one starts.');

  constructor() {
    this.element = h('section', { class: 'card' },
      h('p', { class: 'soft' }, 'A worker that drains takes nothing new, finishes what it holds, and idles until it is stopped.'),
      h('div', { class: 'scroll-x', tabindex: '0', role: 'group', 'aria-label': 'Workers' }, h('table', {}, h('thead', {}, h('tr', {},
        ['Worker', 'State', 'In use', 'Last heard of', 'Started', 'Version', ''].map((name) => h('th', { scope: 'col' }, name)))), this.#rows)),
      this.#none);
    this.poll = new Poll(async () => this.#show(await admin.overview()), EVERY);
  }

  close() {
    this.poll.close();
  }

  #show({ workers }) {
    const focused = document.activeElement?.closest('[data-worker]')?.dataset.worker;
    fill(this.#rows, workers.map((worker) => this.#row(worker)));
    if (focused) this.#rows.querySelector(`[data-worker="${focused}"] button`)?.focus();
    this.#none.hidden = workers.length > 0;
  }

  #row(worker) {
    const alive = isAlive(worker);
    const state = alive ? worker.draining ? 'draining' : 'working' : 'silent';
    return h('tr', { 'data-worker': worker.id, 'data-state': state },
      h('th', { scope: 'row' }, worker.host, ' ', h('code', { title: worker.id }, short(worker.id))),
      h('td', {}, h('span', { class: `state is-${state}` }, state)),
      h('td', {}, meter('Places in use', worker.in_flight, worker.concurrency), `${count(worker.in_flight)} of ${count(worker.concurrency)}`),
      h('td', {}, `${span(worker.heartbeat_age_seconds)} ago`), h('td', {}, clock(worker.started_at)), h('td', {}, worker.version),
      h('td', {}, h('button', { type: 'button', class: 'button small', onclick: () => this.#turn(worker) }, worker.draining ? 'Undrain' : 'Drain')));
  }

  async #turn(worker) {
    const sure = worker.draining || await confirmed({
      title: 'Drain the worker?', text: `${worker.host} ${short(worker.id)} takes nothing new, and finishes the ${count(worker.in_flight)} that it holds.`, action: 'Drain',
    });
    if (sure) await tried(() => (worker.draining ? admin.undrain(worker.id) : admin.drain(worker.id)));
    this.poll.soon();
  }
}
