// Everything at a glance: how many wait and run, for how long, and the queue's switch.

import { fill, h } from '../dom.js';
import { admin } from '../net/admin.js';
import { confirmed, tried } from '../views/notes.js';
import { lines, meter, shares } from './chart.js';
import { Poll } from './poll.js';
import { STATES, clock, count, some, span } from './words.js';

/** Distance of looks, and how far back the chart goes, in milliseconds. */
const EVERY = 2_000;
const REACH = 300_000;
/** A wait that is worth a look, in seconds. */
const LONG = 30;

const SERIES = [{ name: 'queued', label: 'Queued' }, { name: 'running', label: 'Running' }];

/** What was seen since the page was loaded, for the chart; it outlives the view, not the page. */
const seen = [];

export class OverviewView {
  #figures = h('dl', { class: 'figures' });
  #queue = h('div', { class: 'card row spread' });
  #course = h('div');
  #states = h('div');
  #workers = h('div');

  constructor() {
    this.element = h('div', { class: 'admin-grid' }, this.#queue, this.#figures,
      h('section', { class: 'card wide', 'aria-labelledby': 'course' }, h('h2', { id: 'course' }, 'The last five minutes'), this.#course),
      h('section', { class: 'card', 'aria-labelledby': 'states' }, h('h2', { id: 'states' }, 'Runs by state'), this.#states),
      h('section', { class: 'card', 'aria-labelledby': 'load' }, h('h2', { id: 'load' }, 'Workers'), this.#workers));
    this.poll = new Poll(async () => this.#show(await admin.overview()), EVERY);
  }

  close() {
    this.poll.close();
  }

  #show(overview) {
    const { queued, running, oldest_wait_seconds: wait, workers } = overview;
    seen.push({ at: Date.now(), queued, running });
    while (seen.length > 1 && seen[1].at < Date.now() - REACH) seen.shift();
    const alive = workers.filter(isAlive);
    const places = alive.reduce((sum, { concurrency }) => sum + concurrency, 0);
    const busy = alive.reduce((sum, { in_flight: held }) => sum + held, 0);
    fill(this.#figures, figure('Queued', count(queued), '#/runs?status=queued'), figure('Running', count(running), '#/runs?status=running'),
      figure('Longest wait', wait === null ? 'none' : span(wait), null, wait !== null && wait > LONG),
      figure('Failed lately', count(overview.runs_by_status.failed), '#/dead', overview.runs_by_status.failed > 0),
      figure('Workers alive', count(alive.length), '#/workers', alive.length === 0));
    this.#showQueue(overview);
    fill(this.#course, lines('Queued and running runs over the last five minutes', seen, SERIES, REACH),
      h('ul', { class: 'legend' }, SERIES.map(({ name, label }) => h('li', { class: `of-${name}` },
        `${label}: ${count(seen.at(-1)[name])} now, ${count(Math.max(...seen.map((point) => point[name])))} at most`))));
    const parts = Object.entries(STATES).map(([name, label]) => ({ name, label, value: overview.runs_by_status[name] }));
    fill(this.#states, shares('Runs by state', parts),
      h('table', { class: 'legend-table' }, h('caption', { class: 'soft' }, `All open runs, and those that ended in the last ${span(overview.recent_seconds)}.`),
        h('tbody', {}, parts.map(({ name, label, value }) => h('tr', {},
          h('th', { scope: 'row', class: `of-${name}` }, h('a', { href: `#/runs?status=${name}` }, label)), h('td', {}, count(value)))))));
    fill(this.#workers, meter('Places in use', busy, places),
      h('p', {}, alive.length === 0 ? 'No worker is alive: messages are taken, and wait.'
        : `${count(busy)} of ${some(places, 'place')} in use on ${some(alive.length, 'worker')}.`),
      h('p', {}, h('a', { href: '#/workers' }, 'See the workers'), ' · ', h('a', { href: '#/capacity' }, 'How many are called for?')));
  }

  #showQueue({ paused, paused_at: at }) {
    const label = paused ? 'Resume the queue' : 'Pause the queue';
    // Redrawn only when it changes, so that the focus stays.
    if (this.#queue.dataset.state === String(paused)) return;
    const focused = this.#queue.contains(document.activeElement);
    this.#queue.dataset.state = String(paused);
    this.#queue.classList.toggle('bad', paused);
    fill(this.#queue, h('p', { role: 'status' }, paused ? `The queue is paused, since ${clock(at)}.` : 'The queue is open.'),
      h('button', { type: 'button', class: 'button', id: 'queue-switch', onclick: () => this.#switch(paused) }, label));
    if (focused) this.#queue.querySelector('button').focus();
  }

  async #switch(paused) {
    const sure = await confirmed(paused
      ? { title: 'Resume the queue?', text: 'Workers take up what waits, within a heartbeat.', action: 'Resume' }
      : { title: 'Pause the queue?', text: 'No worker takes up anything new. What is under way goes on, and messages are still taken.', action: 'Pause' });
    if (sure) await tried(() => (paused ? admin.resume() : admin.pause()));
    this.poll.soon();
  }
}

/** Whether a worker was heard of lately, as the capacity counts it. */
export const isAlive = ({ heartbeat_age_seconds: age }) => age <= 10;

function figure(label, value, href, isBad = false) {
  return h('div', { class: isBad ? 'figure bad' : 'figure' }, h('dt', {}, label),
    h('dd', {}, href ? h('a', { href }, value) : value));
}
