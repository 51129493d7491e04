// The overview: queued and running runs, wait times, workers, and the button that pauses the queue.

import { h, setChildren } from '../dom.js';
import { admin } from '../net/admin.js';
import { confirmDialog } from '../views/dialog.js';
import { tryAction } from '../views/toast.js';
import { lineChart, meter, stackedBar } from './chart.js';
import { STATES, formatCount, formatDuration, formatTime, plural } from './format.js';
import { Poller } from './poller.js';

/** Milliseconds. */
const POLL_INTERVAL = 2_000;
/** The time range of the chart, in milliseconds. */
const CHART_RANGE = 300_000;
/** A longer wait than this is highlighted, in seconds. */
const LONG_WAIT = 30;
/** A worker whose last heartbeat is older is not alive, in seconds. The capacity calculation uses the same limit. */
const MAX_HEARTBEAT_AGE = 10;

const SERIES = [{ name: 'queued', label: 'Queued' }, { name: 'running', label: 'Running' }];

/** The points of the chart, kept until the page is reloaded. */
const samples = [];

export class OverviewView {
  #figures = h('dl', { class: 'figures' });
  #queue = h('div', { class: 'card row spread' });
  #chart = h('div');
  #states = h('div');
  #workers = h('div');

  constructor() {
    this.element = h('div', { class: 'admin-grid' }, this.#queue, this.#figures,
      card('chart', 'The last five minutes', this.#chart, 'card wide'),
      card('states', 'Runs by state', this.#states),
      card('workers', 'Workers', this.#workers));
    this.poller = new Poller(async () => this.#show(await admin.overview()), POLL_INTERVAL);
  }

  close() {
    this.poller.close();
  }

  #show(overview) {
    const { queued, running } = overview;
    samples.push({ at: Date.now(), queued, running });
    while (samples.length > 1 && samples[1].at < Date.now() - CHART_RANGE) samples.shift();
    this.#showQueue(overview);
    this.#showFigures(overview);
    this.#showChart();
    this.#showStates(overview);
    this.#showWorkers(overview.workers.filter(isAlive));
  }

  #showQueue({ paused, paused_at: since }) {
    // Redrawn only when it changes, so that the button keeps the focus.
    if (this.#queue.dataset.state === String(paused)) return;
    const hadFocus = this.#queue.contains(document.activeElement);
    this.#queue.dataset.state = String(paused);
    this.#queue.classList.toggle('bad', paused);
    setChildren(this.#queue, h('p', { role: 'status' }, paused ? `The queue has been paused since ${formatTime(since)}.` : 'The queue is open.'),
      h('button', { type: 'button', class: 'button', id: 'queue-switch', onclick: () => this.#pauseOrResume(paused) },
        paused ? 'Resume the queue' : 'Pause the queue'));
    if (hadFocus) this.#queue.querySelector('button').focus();
  }

  #showFigures({ queued, running, oldest_wait_seconds: wait, runs_by_status: runs, recent_seconds: recent, workers }) {
    const alive = workers.filter(isAlive).length;
    setChildren(this.#figures,
      figure('Queued', formatCount(queued), '#/runs?status=queued'),
      figure('Running', formatCount(running), '#/runs?status=running'),
      figure('Longest wait', wait === null ? 'none' : formatDuration(wait), null, wait !== null && wait > LONG_WAIT),
      figure(`Failed (last ${formatDuration(recent)})`, formatCount(runs.failed), '#/dead', runs.failed > 0),
      figure('Workers alive', formatCount(alive), '#/workers', alive === 0));
  }

  #showChart() {
    setChildren(this.#chart, lineChart('Queued and running runs over the last five minutes', samples, SERIES, CHART_RANGE),
      h('ul', { class: 'legend' }, SERIES.map(({ name, label }) => h('li', { class: `of-${name}` },
        `${label}: ${formatCount(samples.at(-1)[name])} now, ${formatCount(Math.max(...samples.map((point) => point[name])))} maximum`))));
  }

  #showStates({ runs_by_status: runs, recent_seconds: recent }) {
    const parts = Object.entries(STATES).map(([name, label]) => ({ name, label, value: runs[name] }));
    setChildren(this.#states, stackedBar('Runs by state', parts),
      h('table', { class: 'legend-table' }, h('caption', { class: 'muted' }, `All open runs, and those that finished in the last ${formatDuration(recent)}.`),
        h('tbody', {}, parts.map(({ name, label, value }) => h('tr', {},
          h('th', { scope: 'row', class: `of-${name}` }, h('a', { href: `#/runs?status=${name}` }, label)), h('td', {}, formatCount(value)))))));
  }

  #showWorkers(alive) {
    const slots = alive.reduce((sum, { concurrency }) => sum + concurrency, 0);
    const used = alive.reduce((sum, { in_flight: runs }) => sum + runs, 0);
    setChildren(this.#workers, meter('Slots in use', used, slots),
      h('p', {}, alive.length === 0 ? 'No worker is alive. Messages are accepted and wait in the queue.'
        : `${formatCount(used)} of ${plural(slots, 'slot')} in use on ${plural(alive.length, 'worker')}.`),
      h('p', {}, h('a', { href: '#/workers' }, 'See the workers'), ' · ', h('a', { href: '#/capacity' }, 'How many do I need?')));
  }

  async #pauseOrResume(paused) {
    const confirmed = await confirmDialog(paused
      ? { title: 'Resume the queue?', text: 'Workers start to claim queued runs within a heartbeat.', action: 'Resume' }
      : { title: 'Pause the queue?', text: 'Workers claim no new runs. Runs in progress continue, and new messages are still accepted.', action: 'Pause' });
    if (confirmed) await tryAction(() => (paused ? admin.resume() : admin.pause()));
    this.poller.pollNow();
  }
}

export const isAlive = ({ heartbeat_age_seconds: age }) => age <= MAX_HEARTBEAT_AGE;

function card(id, heading, content, classes = 'card') {
  return h('section', { class: classes, 'aria-labelledby': id }, h('h2', { id }, heading), content);
}

function figure(label, value, href, isBad = false) {
  return h('div', { class: isBad ? 'figure bad' : 'figure' }, h('dt', {}, label),
    h('dd', {}, href ? h('a', { href }, value) : value));
}
