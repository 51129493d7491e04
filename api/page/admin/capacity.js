// The recommended number of workers, with the calculation behind it.

import { h, setChildren } from '../dom.js';
import { admin } from '../net/admin.js';
import { meter } from './chart.js';
import { formatCount, formatDuration, formatNumber, plural } from './format.js';
import { Poller } from './poller.js';

/** Milliseconds. The values are averages over minutes. */
const POLL_INTERVAL = 10_000;

export class CapacityView {
  #recommendation = h('section', { class: 'card', 'aria-live': 'polite' });
  #calculation = h('section', { class: 'card' });

  constructor() {
    this.element = h('div', { class: 'admin-grid' }, this.#recommendation, this.#calculation);
    this.poller = new Poller(async () => this.#show(await admin.capacity()), POLL_INTERVAL);
  }

  close() {
    this.poller.close();
  }

  #show(capacity) {
    const { workers, workers_alive: alive } = capacity;
    const text = `Recommended: ${plural(workers, 'worker')}. ${advice(workers, alive)}`;
    if (this.#recommendation.dataset.text !== text + alive) {
      this.#recommendation.dataset.text = text + alive;
      this.#recommendation.classList.toggle('bad', workers > alive);
      const max = Math.max(workers, alive, 1);
      setChildren(this.#recommendation, h('h2', {}, text),
        h('table', { class: 'bars' }, h('tbody', {},
          [['Recommended', workers], ['Alive', alive]].map(([label, value]) => h('tr', {},
            h('th', { scope: 'row' }, label), h('td', {}, meter(`Workers: ${label.toLowerCase()}`, value, max)), h('td', {}, formatCount(value)))))));
    }
    setChildren(this.#calculation, h('h2', {}, 'How this is calculated'), h('p', { class: 'formula' }, h('code', {}, capacity.formula)),
      h('dl', { class: 'facts' },
        fact('Arrivals per second, last 5 min', formatNumber(capacity.arrivals_per_second_5_min)),
        fact('Arrivals per second, last 60 min', formatNumber(capacity.arrivals_per_second_60_min)),
        fact('How long a run occupies a slot', formatDuration(capacity.service_seconds)),
        fact('Slots per worker', formatNumber(capacity.concurrency)),
        fact('Target use of the slots', `${Math.round(capacity.target_use * 100)} %`),
        fact('Sample', `${plural(capacity.sample_runs, 'run')} in ${formatDuration(capacity.sample_seconds)}`)),
      h('p', { class: 'muted' }, 'The higher arrival rate counts, so a rise takes effect at once and a fall after an hour.'));
  }
}

/** What to do about the difference between the recommended and the present number. */
function advice(workers, alive) {
  if (workers > alive) return `Start ${plural(workers - alive, 'more worker')}.`;
  if (workers < alive) return `You can stop ${plural(alive - workers, 'worker')}, but keep at least two in case one fails.`;
  return 'You have the right number.';
}

const fact = (label, value) => [h('dt', {}, label), h('dd', {}, value)];
