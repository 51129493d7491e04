// Everybody's runs, the newest first, by state and user, page by page; the dead letters are those that failed.

import { fill, h } from '../dom.js';
import { admin } from '../net/admin.js';
import { Poll } from './poll.js';
import { actions } from './run-actions.js';
import { STATES, clock, isOpen, short, since, span } from './words.js';

/** Distance of looks, in milliseconds, and runs on a page. */
const EVERY = 4_000;
const PAGE = 25;
/** An age from which an open run is worth a look, in seconds. */
const LATE = 60;

export class RunsView {
  #which;
  #isDead;
  /** Cursors of this page and those before it. */
  #cursors = [''];
  #next = null;
  #rows = h('tbody');
  #none = h('p', { class: 'soft', hidden: true });
  #newer = h('button', { type: 'button', class: 'button small', id: 'newer', onclick: () => this.#turn(-1) }, 'Newer');
  #older = h('button', { type: 'button', class: 'button small', id: 'older', onclick: () => this.#turn(1) }, 'Older');
  #page = h('span', { class: 'soft', role: 'status' });

  /** `which` has what the address says: `status` and `user_id`, or neither. */
  constructor({ status = '', user_id: user = '' }, isDead = false) {
    this.#which = { status: status in STATES ? status : '', user_id: user.trim() };
    this.#isDead = isDead;
    const columns = ['Run', 'State', 'User', 'Came', 'Took', 'Tries', isDead ? 'Why it failed' : 'What went wrong', ''];
    this.element = h('section', { class: 'card' },
      isDead && h('p', { class: 'soft' }, 'Runs that ended without a reply, because the model, a bound, or several deaths of workers ended them. Their messages are kept. A run is tried again only while it is the last of its conversation.'),
      this.#form(),
      h('div', { class: 'scroll-x', tabindex: '0', role: 'group', 'aria-label': 'Runs' }, h('table', {}, h('thead', {}, h('tr', {},
        columns.map((name) => h('th', { scope: 'col' }, name)))), this.#rows)),
      this.#none, h('div', { class: 'row' }, this.#newer, this.#older, this.#page));
    this.poll = new Poll(() => this.#read(), EVERY);
  }

  close() {
    this.poll.close();
  }

  #form() {
    const state = h('select', { name: 'status', 'aria-label': 'State', disabled: this.#isDead }, h('option', { value: '' }, 'Every state'),
      Object.entries(STATES).map(([name, label]) => h('option', { value: name, selected: name === this.#which.status }, label)));
    const user = h('input', {
      name: 'user_id', type: 'text', value: this.#which.user_id, placeholder: 'A user’s id', 'aria-label': 'User’s id', autocomplete: 'off',
      spellcheck: 'false', maxlength: 36,
    });
    const go = (event) => {
      event?.preventDefault();
      const wanted = this.#isDead ? { user_id: user.value.trim() } : { status: state.value, user_id: user.value.trim() };
      const asked = new URLSearchParams(Object.entries(wanted).filter(([, value]) => value)).toString();
      location.hash = `#/${this.#isDead ? 'dead' : 'runs'}${asked ? `?${asked}` : ''}`;
    };
    state.addEventListener('change', go);
    return h('form', { class: 'filters', onsubmit: go }, !this.#isDead && state, user, h('button', { type: 'submit', class: 'button' }, 'Show'));
  }

  async #read() {
    const cursor = this.#cursors.at(-1);
    const wanted = Object.entries({ ...this.#which, cursor, limit: PAGE }).filter(([, value]) => value);
    const { items, next_cursor: next } = await admin.runs(wanted);
    // The page was turned meanwhile.
    if (cursor !== this.#cursors.at(-1)) return;
    this.#next = next;
    this.#draw(items);
  }

  #turn(by) {
    if (by > 0) this.#cursors.push(this.#next);
    else this.#cursors.pop();
    // Until the page is there, no further.
    this.#newer.disabled = true;
    this.#older.disabled = true;
    this.poll.soon();
  }

  #draw(items) {
    const focused = document.activeElement?.closest('[data-run]')?.dataset.run;
    const what = document.activeElement?.dataset.act;
    fill(this.#rows, items.map((run) => this.#row(run)));
    if (focused) this.#rows.querySelector(`[data-run="${focused}"] [data-act="${what}"]`)?.focus();
    const page = this.#cursors.length;
    this.#newer.disabled = page === 1;
    this.#older.disabled = this.#next === null;
    const told = `Page ${page}`;
    if (this.#page.textContent !== told) this.#page.textContent = told;
    this.#none.textContent = page > 1 ? 'There are none older.' : this.#isDead ? 'No run has failed.' : 'There are no such runs.';
    this.#none.hidden = items.length > 0;
  }

  #row(run) {
    const open = isOpen(run.status);
    const took = since(run.queued_at, open ? undefined : Date.parse(run.finished_at));
    const mine = `#/${this.#isDead ? 'dead' : 'runs'}?user_id=${run.user_id}`;
    return h('tr', { 'data-run': run.run_id, class: open && took > LATE ? 'late' : null },
      h('th', { scope: 'row' }, h('a', { href: `#/run/${run.run_id}`, title: run.run_id, 'data-act': 'open' }, h('code', {}, short(run.run_id)))),
      h('td', {}, h('span', { class: `state is-${run.status}` }, STATES[run.status])),
      h('td', {}, h('a', { href: mine, title: run.user_id, 'data-act': 'user' }, h('code', {}, short(run.user_id)))),
      h('td', {}, clock(run.created_at)),
      h('td', {}, open ? `${span(took)} so far` : span(took)),
      h('td', {}, tries(run)),
      h('td', { class: 'why' }, run.reason, run.last_error && h('span', { class: 'soft' }, run.last_error)),
      h('td', {}, actions(run, () => this.poll.soon())));
  }
}

/** How often a run was tried, and what ended the tries. */
export function tries({ attempt, failures, rescues }) {
  const ends = [failures > 0 && `${failures} failed`, rescues > 0 && `${rescues} lost with a worker`].filter(Boolean);
  return ends.length > 0 ? `${attempt} (${ends.join(', ')})` : String(attempt);
}
