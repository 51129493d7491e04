// A tool call: one line that says what it does, and its arguments and result when opened.

import { h, icon, setChildren } from '../dom.js';

const LABELS = {
  add_task: ['Adding a task', 'Added a task'],
  list_tasks: ['Reading the list', 'Read the list'],
  complete_task: ['Marking a task as done', 'Marked a task as done'],
  update_task: ['Changing a task', 'Changed a task'],
  delete_task: ['Deleting a task', 'Deleted a task'],
};

/** What happened to a call that did not succeed, by its error code. */
const ERRORS = {
  DECLINED: 'declined', APPROVAL_EXPIRED: 'not approved in time', NOT_DONE: 'not done', OUTCOME_UNKNOWN: 'outcome unknown',
};

/** What a tool is doing, and what it did. */
export const toolLabels = (name) => LABELS[name] ?? [`Calling ${name}`, `Called ${name}`];

/** A value as formatted JSON. */
export const jsonBlock = (value) => h('pre', { tabindex: 0 }, h('code', {}, toJson(value)));

/** Shows a call. With an existing element, redraws it if the state of the call has changed. */
export function toolView(tool, element = h('details', { class: 'tool', 'data-tool': tool.name })) {
  const isDone = tool.result !== undefined;
  const state = isDone ? (tool.success ? 'done' : 'failed') : 'running';
  if (element.dataset.state === state) return element;
  element.dataset.state = state;
  const [doing, did] = toolLabels(tool.name);
  const label = state === 'failed' ? `${doing}: ${ERRORS[errorCode(tool)] ?? 'failed'}` : isDone ? did : `${doing}…`;
  const subject = subjectOf(tool);
  setChildren(element,
    h('summary', {},
      h('span', { class: 'tool-state' }, state === 'running' ? h('span', { class: 'spinner' }) : icon(state === 'done' ? 'check' : 'cross')),
      h('span', { class: 'tool-label' }, label), subject && h('span', { class: 'tool-subject' }, subject)),
    h('div', { class: 'tool-body' },
      section('Arguments', tool.arguments), isDone && section('Result', tool.result)));
  return element;
}

/** The title of the task that the call is about, or how many tasks it returned. */
function subjectOf({ arguments: args, result }) {
  const title = result?.task?.title ?? result?.deleted_task?.title ?? args?.title;
  if (typeof title === 'string') return title;
  if (typeof result?.total === 'number') return result.total === 1 ? '1 task' : `${result.total} tasks`;
  return typeof args?.task_id === 'number' ? `task ${args.task_id}` : null;
}

function section(heading, value) {
  return [h('h4', {}, heading), jsonBlock(value)];
}

/** Leaves out the user's own id, which is of no use to them. */
function toJson(value) {
  return JSON.stringify(value, (key, inner) => (key === 'user_id' ? undefined : inner), 2) ?? '';
}

const errorCode = ({ result }) => String(result?.error ?? '').split(':', 1)[0];
