// The workers: their state, their load, and a button to drain each.

import { h, setChildren } from '../dom.js';
import { admin } from '../net/admin.js';
import { confirmDialog } from '../views/dialog.js';
import { tryAction } from '../views/toast.js';
import { meter } from './chart.js';
import { formatCount, formatDuration, formatTime, plural, shortId } from './format.js';
import { isAlive } from './overview.js';
import { Poller } from './poller.js';

/** Milliseconds. */
const POLL_INTERVAL = 2_000;

export class WorkersView {
  #rows = h('tbody');
  #none = h('p', { class: 'muted', hidden: true }, 'There are no workers. Messages are accepted and wait in the queue until one starts.');

  constructor() {
    this.element = h('section', { class: 'card' },
      h('p', { class: 'muted' }, 'A draining worker claims no new runs, finishes its current ones, and stays idle until it is stopped.'),
      h('div', { class: 'scroll-x', tabindex: '0', role: 'group', 'aria-label': 'Workers' }, h('table', {}, h('thead', {}, h('tr', {},
        ['Worker', 'State', 'Slots in use', 'Last heartbeat', 'Started at', 'Version', 'Action'].map((name) => h('th', { scope: 'col' }, name)))), this.#rows)),
      this.#none);
    this.poller = new Poller(async () => this.#show(await admin.overview()), POLL_INTERVAL);
  }

  close() {
    this.poller.close();
  }

  #show({ workers }) {
    const focusedWorker = document.activeElement?.closest('[data-worker]')?.dataset.worker;
    setChildren(this.#rows, workers.map((worker) => this.#row(worker)));
    if (focusedWorker) this.#rows.querySelector(`[data-worker="${focusedWorker}"] button`)?.focus();
    this.#none.hidden = workers.length > 0;
  }

  #row(worker) {
    const { id, host, draining, in_flight: inFlight, concurrency } = worker;
    const state = isAlive(worker) ? draining ? 'draining' : 'working' : 'unresponsive';
    return h('tr', { 'data-worker': id, 'data-state': state },
      h('th', { scope: 'row' }, host, ' ', h('code', { title: id }, shortId(id))),
      h('td', {}, h('span', { class: `state is-${state}` }, state)),
      h('td', {}, meter('Slots in use', inFlight, concurrency), `${formatCount(inFlight)} of ${formatCount(concurrency)}`),
      h('td', {}, `${formatDuration(worker.heartbeat_age_seconds)} ago`), h('td', {}, formatTime(worker.started_at)), h('td', {}, worker.version),
      h('td', {}, h('button', { type: 'button', class: 'button small', onclick: () => this.#toggleDraining(worker) }, draining ? 'Undrain' : 'Drain')));
  }

  async #toggleDraining({ id, host, draining, in_flight: inFlight }) {
    const confirmed = draining || await confirmDialog({
      title: 'Drain the worker?', text: `${host} ${shortId(id)} claims no new runs and finishes its current ${plural(inFlight, 'run')}.`, action: 'Drain',
    });
    if (confirmed) await tryAction(() => (draining ? admin.undrain(id) : admin.drain(id)));
    this.poller.pollNow();
  }
}
