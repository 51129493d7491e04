// A tool call: what it does in a few words, and on demand what it was given and what it answered.

import { fill, h, icon } from '../dom.js';

const WORDS = {
  add_task: ['Adding a task', 'Added a task'],
  list_tasks: ['Reading the list', 'Read the list'],
  complete_task: ['Marking a task', 'Marked a task'],
  update_task: ['Changing a task', 'Changed a task'],
  delete_task: ['Deleting a task', 'Deleted a task'],
};

/** What became of calls that were not made, by the code of their error. */
const REFUSED = {
  DECLINED: 'declined', APPROVAL_EXPIRED: 'not approved in time', NOT_DONE: 'not done', OUTCOME_UNKNOWN: 'outcome unknown',
};

/** What a tool does, and what it has done. */
export const words = (name) => WORDS[name] ?? [`Calling ${name}`, `Called ${name}`];

/** Arguments as they are. */
export const given = (value) => h('pre', { tabindex: 0 }, h('code', {}, json(value)));

/** Shows a call, or shows again what has changed of it. */
export function toolView(tool, element = h('details', { class: 'tool', 'data-tool': tool.name })) {
  const done = tool.result !== undefined;
  const state = done ? (tool.success ? 'done' : 'failed') : 'running';
  if (element.dataset.state === state) return element;
  element.dataset.state = state;
  const [doing, did] = words(tool.name);
  const told = state === 'failed' ? `${doing}: ${REFUSED[code(tool)] ?? 'refused'}` : done ? did : `${doing}…`;
  fill(element,
    h('summary', {},
      h('span', { class: 'tool-state' }, state === 'running' ? h('span', { class: 'spinner' }) : icon(state === 'done' ? 'check' : 'cross')),
      h('span', { class: 'tool-words' }, told), subject(tool) && h('span', { class: 'tool-subject' }, subject(tool))),
    h('div', { class: 'tool-body' },
      part('Arguments', tool.arguments), done && part('Result', tool.result)));
  return element;
}

/** Which task it is about. */
function subject({ arguments: given, result }) {
  const title = result?.task?.title ?? result?.deleted_task?.title ?? given?.title;
  if (typeof title === 'string') return title;
  if (typeof result?.total === 'number') return result.total === 1 ? '1 task' : `${result.total} tasks`;
  return typeof given?.task_id === 'number' ? `task ${given.task_id}` : null;
}

function part(name, value) {
  return [h('h4', {}, name), given(value)];
}

/** The user's own id says nothing to them. */
function json(value) {
  return JSON.stringify(value, (key, inner) => (key === 'user_id' ? undefined : inner), 2) ?? '';
}

const code = ({ result }) => String(result?.error ?? '').split(':', 1)[0];
