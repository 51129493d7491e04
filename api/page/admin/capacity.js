// How many workers the load calls for, with the reckoning.

import { fill, h } from '../dom.js';
import { admin } from '../net/admin.js';
import { meter } from './chart.js';
import { Poll } from './poll.js';
import { count, number, some, span } from './words.js';

/** Distance of looks, in milliseconds: it is reckoned over minutes. */
const EVERY = 10_000;

export class CapacityView {
  #answer = h('section', { class: 'card', 'aria-live': 'polite' });
  #numbers = h('section', { class: 'card' });

  constructor() {
    this.element = h('div', { class: 'admin-grid' }, this.#answer, this.#numbers);
    this.poll = new Poll(async () => this.#show(await admin.capacity()), EVERY);
  }

  close() {
    this.poll.close();
  }

  #show(capacity) {
    const { workers, workers_alive: alive } = capacity;
    const most = Math.max(workers, alive, 1);
    const verdict = workers > alive ? `Start ${some(workers - alive, 'more worker')}.`
      : workers < alive ? `${some(alive - workers, 'worker')} could go, as far as the load goes; keep two, so that one may fail.` : 'That is what there is.';
    const text = `The load calls for ${some(workers, 'worker')}. ${verdict}`;
    if (this.#answer.dataset.text !== text + alive) {
      this.#answer.dataset.text = text + alive;
      this.#answer.classList.toggle('bad', workers > alive);
      fill(this.#answer, h('h2', {}, text),
        h('table', { class: 'bars' }, h('tbody', {},
          [['Called for', workers], ['Alive', alive]].map(([label, value]) => h('tr', {},
            h('th', { scope: 'row' }, label), h('td', {}, meter(`Workers: ${label.toLowerCase()}`, value, most)), h('td', {}, count(value)))))));
    }
    fill(this.#numbers, h('h2', {}, 'The reckoning'), h('p', { class: 'formula' }, h('code', {}, capacity.formula)),
      h('dl', { class: 'facts' },
        fact('Arrivals a second, last 5 min', number(capacity.arrivals_per_second_5_min)),
        fact('Arrivals a second, last 60 min', number(capacity.arrivals_per_second_60_min)),
        fact('Time that a run keeps a worker’s place', span(capacity.service_seconds)),
        fact('Places of a worker', number(capacity.concurrency)),
        fact('Share of them to be in use', `${Math.round(capacity.target_use * 100)} %`),
        fact('Reckoned from', `${some(capacity.sample_runs, 'run')} in ${span(capacity.sample_seconds)}`)),
      h('p', { class: 'soft' }, 'The larger of the two arrivals counts: a rise at once, a fall after an hour.'));
  }
}

const fact = (label, value) => [h('dt', {}, label), h('dd', {}, value)];
