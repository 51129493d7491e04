// One run: the facts, and its steps on a line of time. What was said is not here, by intent.

import { fill, h } from '../dom.js';
import { admin, now } from '../net/admin.js';
import { stretch } from './chart.js';
import { Poll } from './poll.js';
import { actions } from './run-actions.js';
import { tries } from './runs.js';
import { STATES, clock, count, isOpen, span } from './words.js';

/** Distance of looks, in milliseconds. */
const EVERY = 2_000;

export class RunView {
  #facts = h('dl', { class: 'facts' });
  #head = h('div', { class: 'row spread' });
  #line = h('tbody');
  #total = h('p', { class: 'soft' });
  #before = h('p', { class: 'soft', hidden: true });
  #drawn = '';

  constructor(id) {
    this.element = h('div', { class: 'stack' },
      h('section', { class: 'card', 'aria-label': 'The run' }, this.#head, this.#facts),
      h('section', { class: 'card', 'aria-labelledby': 'timeline' }, h('h2', { id: 'timeline' }, 'Where the time went'), this.#total,
        h('table', { class: 'timeline' }, h('thead', {}, h('tr', {}, ['What', 'When', 'Took', 'More'].map((name) => h('th', { scope: 'col' }, name)))), this.#line),
        this.#before));
    this.poll = new Poll(async () => this.#show(await admin.run(id)), EVERY);
  }

  close() {
    this.poll.close();
  }

  #show(run) {
    const same = JSON.stringify(run);
    // A run that has ended changes no more; an open one's bars grow.
    if (same === this.#drawn && !isOpen(run.status)) return;
    if (same !== this.#drawn) this.#showFacts(run);
    this.#drawn = same;
    const { begin, end, rows, left } = timeline(run);
    fill(this.#line, rows.map(({ kind, label, from, to, more, isOpen: grows }) => h('tr', { 'data-kind': kind },
      h('th', { scope: 'row' }, label),
      h('td', { class: 'when' }, stretch(kind, label, { from, to, begin, end })),
      h('td', {}, span((to - from) / 1000), grows ? ' so far' : ''), h('td', { class: 'why' }, more))));
    fill(this.#total, `${span((end - begin) / 1000)} from when it was queued ${isOpen(run.status) ? 'until now' : 'to its end'}.`);
    this.#before.hidden = left === 0;
    fill(this.#before, `${left} earlier steps, from before it was tried again, are not on the line.`);
  }

  #showFacts(run) {
    const focused = this.#head.contains(document.activeElement);
    fill(this.#head, h('p', {}, h('span', { class: `state is-${run.status}` }, STATES[run.status]), ' ', h('code', {}, run.run_id)),
      actions(run, () => this.poll.soon()));
    if (focused) this.#head.querySelector('button')?.focus();
    fill(this.#facts, Object.entries({
      User: h('a', { href: `#/runs?user_id=${run.user_id}` }, h('code', {}, run.user_id)),
      Conversation: h('code', {}, run.conversation_id),
      'Why it failed': run.reason,
      'Last error': run.last_error,
      Tries: tries(run),
      Worker: run.worker_id && h('code', {}, run.worker_id),
      Model: run.model,
      Tokens: run.finished_at && `${count(run.prompt_tokens)} sent, ${count(run.completion_tokens)} received`,
      Came: clock(run.created_at),
      'Queued again': run.queued_at !== run.created_at && clock(run.queued_at),
      'Must end by': isOpen(run.status) && run.deadline_at && clock(run.deadline_at),
      'Cancel asked for': run.cancel_requested_at && clock(run.cancel_requested_at),
      Ended: run.finished_at && clock(run.finished_at),
      'Steps removed': run.journal_dropped_at && `${clock(run.journal_dropped_at)}, because they had been kept for long enough`,
    }).filter(([, value]) => value).map(([label, value]) => [h('dt', {}, label), h('dd', {}, value)]));
  }
}

/** The rows of a run's line of time, in milliseconds; `left` steps are from before it was queued the last time. */
export function timeline(run) {
  const time = (text) => (text ? Date.parse(text) : null);
  const begin = time(run.queued_at);
  const end = time(run.finished_at) ?? Math.max(now(), begin);
  const claimed = time(run.first_claimed_at);
  const rows = [{
    kind: 'queued', label: 'Waited for a worker', from: begin, to: claimed ?? end, more: '', isOpen: claimed === null && isOpen(run.status),
  }];
  let busy = claimed;
  let left = 0;
  for (const step of run.steps) {
    const at = time(step.created_at);
    const from = at - step.model_ms;
    if (at < begin) { left += 1; continue; }
    const tokens = `${step.model}, ${count(step.prompt_tokens)} + ${count(step.completion_tokens)} tokens, try ${step.attempt}`;
    rows.push({ kind: 'running', label: `Step ${step.step + 1}: model`, from: Math.max(from, begin), to: at, more: tokens });
    busy = at;
    if (step.tool_calls.length > 0) {
      busy = at + step.tools_ms;
      rows.push({ kind: 'tools', label: `Step ${step.step + 1}: tools`, from: at, to: busy, more: step.tool_calls.map(told).join(', ') });
    }
  }
  if (run.status === 'running') {
    const from = Math.max(busy ?? begin, time(run.claimed_at) ?? begin);
    rows.push({ kind: 'running', label: `Step ${run.steps.length + 1}: under way`, from: Math.min(from, end), to: end, more: 'mostly the model', isOpen: true });
  } else if (run.status === 'queued' && claimed !== null) {
    rows.push({ kind: 'queued', label: 'Waits for a worker again', from: Math.min(busy, end), to: end, more: '', isOpen: true });
  }
  return { begin, end, rows, left };
}

const told = ({ tool_name: name, success, error }) => (success ? name : `${name} (${error ?? 'failed'})`);
