// One run: its properties and a timeline of its steps. It deliberately shows no message texts.

import { h, setChildren } from '../dom.js';
import { admin, now } from '../net/admin.js';
import { timeBar } from './chart.js';
import { STATES, formatCount, formatDuration, formatTime, isOpen } from './format.js';
import { Poller } from './poller.js';
import { actionButton } from './run-actions.js';
import { formatAttempts } from './runs.js';

/** Milliseconds. */
const POLL_INTERVAL = 2_000;

export class RunView {
  #properties = h('dl', { class: 'facts' });
  #head = h('div', { class: 'row spread' });
  #timeline = h('tbody');
  #total = h('p', { class: 'muted' });
  #omitted = h('p', { class: 'muted', hidden: true });
  #drawn = '';

  constructor(id) {
    this.element = h('div', { class: 'stack' },
      h('section', { class: 'card', 'aria-label': 'The run' }, this.#head, this.#properties),
      h('section', { class: 'card', 'aria-labelledby': 'timeline' }, h('h2', { id: 'timeline' }, 'Timeline'), this.#total,
        h('table', { class: 'timeline' }, h('thead', {}, h('tr', {}, ['What', 'When', 'Duration', 'Details'].map((name) => h('th', { scope: 'col' }, name)))), this.#timeline),
        this.#omitted));
    this.poller = new Poller(async () => this.#show(await admin.run(id)), POLL_INTERVAL);
  }

  close() {
    this.poller.close();
  }

  #show(run) {
    const drawn = JSON.stringify(run);
    // A finished run does not change. The bars of an open run grow.
    if (drawn === this.#drawn && !isOpen(run.status)) return;
    if (drawn !== this.#drawn) this.#showProperties(run);
    this.#drawn = drawn;
    const { begin, end, rows, omitted } = timeline(run);
    setChildren(this.#timeline, rows.map(({ kind, label, from, to, details, inProgress }) => h('tr', { 'data-kind': kind },
      h('th', { scope: 'row' }, label),
      h('td', { class: 'when' }, timeBar(kind, label, { from, to, begin, end })),
      h('td', {}, formatDuration((to - from) / 1000), inProgress ? ' so far' : ''), h('td', { class: 'why' }, details))));
    const total = formatDuration((end - begin) / 1000);
    setChildren(this.#total, isOpen(run.status) ? `${total} since it was queued.` : `${total} from queued to finished.`);
    this.#omitted.hidden = omitted === 0;
    setChildren(this.#omitted, `${omitted} steps from before the last retry are not shown.`);
  }

  #showProperties(run) {
    const hadFocus = this.#head.contains(document.activeElement);
    setChildren(this.#head, h('p', {}, h('span', { class: `state is-${run.status}` }, STATES[run.status]), ' ', h('code', {}, run.run_id)),
      actionButton(run, () => this.poller.pollNow()));
    if (hadFocus) this.#head.querySelector('button')?.focus();
    setChildren(this.#properties, Object.entries({
      User: h('a', { href: `#/runs?user_id=${run.user_id}` }, h('code', {}, run.user_id)),
      Conversation: h('code', {}, run.conversation_id),
      'Why it failed': run.reason,
      'Last error': run.last_error,
      Attempts: formatAttempts(run),
      Worker: run.worker_id && h('code', {}, run.worker_id),
      Model: run.model,
      Tokens: run.finished_at && `${formatCount(run.prompt_tokens)} sent, ${formatCount(run.completion_tokens)} received`,
      'Queued at': formatTime(run.created_at),
      'Queued again at': run.queued_at !== run.created_at && formatTime(run.queued_at),
      Deadline: isOpen(run.status) && run.deadline_at && formatTime(run.deadline_at),
      'Cancellation requested at': run.cancel_requested_at && formatTime(run.cancel_requested_at),
      'Finished at': run.finished_at && formatTime(run.finished_at),
      'Steps deleted at': run.journal_dropped_at && `${formatTime(run.journal_dropped_at)}, after their retention period`,
    }).filter(([, value]) => value).map(([label, value]) => [h('dt', {}, label), h('dd', {}, value)]));
  }
}

/** The rows of a run's timeline, in milliseconds. `omitted` counts the steps from before the last retry. */
function timeline(run) {
  const begin = milliseconds(run.queued_at);
  const end = milliseconds(run.finished_at) ?? Math.max(now(), begin);
  const claimed = milliseconds(run.first_claimed_at);
  const rows = [{
    kind: 'queued', label: 'Waited for a worker', from: begin, to: claimed ?? end, details: '', inProgress: claimed === null && isOpen(run.status),
  }];
  let lastEnd = claimed;
  let omitted = 0;
  for (const step of run.steps) {
    const recorded = milliseconds(step.created_at);
    if (recorded < begin) { omitted += 1; continue; }
    rows.push({ kind: 'running', label: `Step ${step.step + 1}: model`, from: Math.max(recorded - step.model_ms, begin), to: recorded, details: modelDetails(step) });
    lastEnd = recorded;
    if (step.tool_calls.length > 0) {
      lastEnd = recorded + step.tools_ms;
      rows.push({ kind: 'tools', label: `Step ${step.step + 1}: tools`, from: recorded, to: lastEnd, details: step.tool_calls.map(toolDetails).join(', ') });
    }
  }
  if (run.status === 'running') {
    const from = Math.max(lastEnd ?? begin, milliseconds(run.claimed_at) ?? begin);
    rows.push({ kind: 'running', label: `Step ${run.steps.length + 1}: in progress`, from: Math.min(from, end), to: end, details: 'mostly the model', inProgress: true });
  } else if (run.status === 'queued' && claimed !== null) {
    rows.push({ kind: 'queued', label: 'Waiting for a worker again', from: Math.min(lastEnd, end), to: end, details: '', inProgress: true });
  }
  return { begin, end, rows, omitted };
}

const milliseconds = (time) => (time ? Date.parse(time) : null);

const modelDetails = ({ model, prompt_tokens: sent, completion_tokens: received, usage_estimated: estimated, attempt }) => (
  `${model}, ${formatCount(sent)} + ${formatCount(received)} tokens${estimated ? ' (estimated)' : ''}, attempt ${attempt}`);

const toolDetails = ({ tool_name: name, success, error }) => (success ? name : `${name} (${error ?? 'failed'})`);
