// The runs of all users, newest first, filtered by state and user. Dead letters are the runs that failed.

import { h, setChildren } from '../dom.js';
import { admin } from '../net/admin.js';
import { STATES, formatDuration, formatTime, isOpen, secondsSince, shortId } from './format.js';
import { Poller } from './poller.js';
import { actionButton } from './run-actions.js';

/** Milliseconds. */
const POLL_INTERVAL = 4_000;
const PAGE_SIZE = 25;
/** An open run that is older is highlighted, in seconds. */
const LATE = 60;

export class RunsView {
  #filter;
  #isDead;
  /** The cursors of the pages up to the current one. */
  #cursors = [''];
  #nextCursor = null;
  #rows = h('tbody');
  #none = h('p', { class: 'muted', hidden: true });
  #newer = h('button', { type: 'button', class: 'button small', id: 'newer', onclick: () => this.#turnPage(-1) }, 'Newer');
  #older = h('button', { type: 'button', class: 'button small', id: 'older', onclick: () => this.#turnPage(1) }, 'Older');
  #page = h('span', { class: 'muted', role: 'status' });

  /** The filter comes from the address: `status` and `user_id`, both optional. */
  constructor({ status = '', user_id: user = '' }, isDead = false) {
    this.#filter = { status: status in STATES ? status : '', user_id: user.trim() };
    this.#isDead = isDead;
    const columns = ['Run', 'State', 'User', 'Queued at', 'Duration', 'Attempts', isDead ? 'Why it failed' : 'Error', 'Action'];
    this.element = h('section', { class: 'card' },
      isDead && h('p', { class: 'muted' }, 'These runs failed: the model returned an error, a limit was reached, or several workers died. Their messages are kept. A run can be retried only while it is the last of its conversation.'),
      this.#form(),
      h('div', { class: 'scroll-x', tabindex: '0', role: 'group', 'aria-label': 'Runs' }, h('table', {}, h('thead', {}, h('tr', {},
        columns.map((name) => h('th', { scope: 'col' }, name)))), this.#rows)),
      this.#none, h('div', { class: 'row' }, this.#newer, this.#older, this.#page));
    this.poller = new Poller(() => this.#load(), POLL_INTERVAL);
  }

  close() {
    this.poller.close();
  }

  #form() {
    const state = h('select', { name: 'status', 'aria-label': 'State', disabled: this.#isDead }, h('option', { value: '' }, 'All states'),
      Object.entries(STATES).map(([name, label]) => h('option', { value: name, selected: name === this.#filter.status }, label)));
    const user = h('input', {
      name: 'user_id', type: 'text', value: this.#filter.user_id, placeholder: 'User ID', 'aria-label': 'User ID', autocomplete: 'off',
      spellcheck: 'false', maxlength: 36,
    });
    const onSubmit = (event) => {
      event?.preventDefault();
      const filter = this.#isDead ? { user_id: user.value.trim() } : { status: state.value, user_id: user.value.trim() };
      const query = new URLSearchParams(Object.entries(filter).filter(([, value]) => value)).toString();
      location.hash = `#/${this.#section}${query ? `?${query}` : ''}`;
    };
    state.addEventListener('change', onSubmit);
    return h('form', { class: 'filters', onsubmit: onSubmit }, !this.#isDead && state, user, h('button', { type: 'submit', class: 'button' }, 'Show'));
  }

  get #section() {
    return this.#isDead ? 'dead' : 'runs';
  }

  async #load() {
    const cursor = this.#cursors.at(-1);
    const query = Object.entries({ ...this.#filter, cursor, limit: PAGE_SIZE }).filter(([, value]) => value);
    const { items, next_cursor: next } = await admin.runs(query);
    // The user has turned the page since the request was sent.
    if (cursor !== this.#cursors.at(-1)) return;
    this.#nextCursor = next;
    this.#draw(items);
  }

  #turnPage(step) {
    if (step > 0) this.#cursors.push(this.#nextCursor);
    else this.#cursors.pop();
    // Disabled until the page has loaded.
    this.#newer.disabled = true;
    this.#older.disabled = true;
    this.poller.pollNow();
  }

  #draw(items) {
    const focusedRun = document.activeElement?.closest('[data-run]')?.dataset.run;
    const focusedAction = document.activeElement?.dataset.act;
    setChildren(this.#rows, items.map((run) => this.#row(run)));
    if (focusedRun) this.#rows.querySelector(`[data-run="${focusedRun}"] [data-act="${focusedAction}"]`)?.focus();
    const page = this.#cursors.length;
    this.#newer.disabled = page === 1;
    this.#older.disabled = this.#nextCursor === null;
    // Set only when it changes: screen readers announce each update.
    const label = `Page ${page}`;
    if (this.#page.textContent !== label) this.#page.textContent = label;
    this.#none.textContent = page > 1 ? 'No older runs.' : this.#isDead ? 'No failed runs.' : 'No matching runs.';
    this.#none.hidden = items.length > 0;
  }

  #row(run) {
    const open = isOpen(run.status);
    const duration = secondsSince(run.queued_at, open ? undefined : Date.parse(run.finished_at));
    return h('tr', { 'data-run': run.run_id, class: open && duration > LATE ? 'late' : null },
      h('th', { scope: 'row' }, h('a', { href: `#/run/${run.run_id}`, title: run.run_id, 'data-act': 'open' }, h('code', {}, shortId(run.run_id)))),
      h('td', {}, h('span', { class: `state is-${run.status}` }, STATES[run.status])),
      h('td', {}, h('a', { href: `#/${this.#section}?user_id=${run.user_id}`, title: run.user_id, 'data-act': 'user' }, h('code', {}, shortId(run.user_id)))),
      h('td', {}, formatTime(run.created_at)),
      h('td', {}, open ? `${formatDuration(duration)} so far` : formatDuration(duration)),
      h('td', {}, formatAttempts(run)),
      h('td', { class: 'why' }, run.reason, run.last_error && h('span', { class: 'muted' }, run.last_error)),
      h('td', {}, actionButton(run, () => this.poller.pollNow())));
  }
}

/** The number of attempts, and how many failed or were lost with a worker. */
export function formatAttempts({ attempt, failures, rescues }) {
  const details = [failures > 0 && `${failures} failed`, rescues > 0 && `${rescues} lost with a worker`].filter(Boolean);
  return details.length > 0 ? `${attempt} (${details.join(', ')})` : String(attempt);
}
