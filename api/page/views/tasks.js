// The to-do list. It is updated when a tool changes a task in any conversation, and can be edited by hand.

import { coalesce } from '../async.js';
import { h, icon, iconButton, setChildren } from '../dom.js';
import { tasks } from '../net/api.js';
import { live } from '../net/live.js';
import { confirmDialog } from './dialog.js';
import { showTaskForm } from './task-form.js';
import { tryAction } from './toast.js';

/** Events after which the list may have changed. */
const LIST_EVENTS = new Set(['tool.finished', 'run.succeeded', 'run.failed', 'run.cancelled', 'run.snapshot']);
/** At most this many pages of 100 tasks are shown. */
const MAX_PAGES = 5;

export class TasksView {
  #items = null;
  #total = 0;
  #editingId = null;
  #open = h('ul', { class: 'tasks' });
  #completed = h('ul', { class: 'tasks' });
  #completedSection = h('details', { class: 'completed-tasks', hidden: true }, h('summary'), this.#completed);
  #status = h('p', { class: 'muted center' }, 'Loading…');
  #count = h('span', { class: 'count' });
  #input = h('input', { type: 'text', maxlength: 255, required: true, placeholder: 'Add a task', 'aria-label': 'New task', autocomplete: 'off' });
  #cleanups = [];
  #refreshSoon = coalesce(() => this.refresh(), 80);
  #tabs = 'BroadcastChannel' in globalThis ? new BroadcastChannel('errand.tasks') : null;

  constructor() {
    const form = h('form', { class: 'add', onsubmit: (event) => { event.preventDefault(); this.#add(); } },
      this.#input, h('button', { type: 'submit', class: 'icon-button', 'aria-label': 'Add the task', title: 'Add' }, icon('plus')));
    this.element = h('section', { class: 'task-list', 'aria-labelledby': 'tasks-title' },
      h('h2', { id: 'tasks-title' }, 'Tasks', this.#count), form, this.#status, this.#open, this.#completedSection);
    this.#cleanups.push(
      live.events.on((event) => { if (LIST_EVENTS.has(event.type)) this.#refreshSoon(); }),
      live.changed.on((state) => { if (state === 'live') this.#refreshSoon(); }),
    );
    this.#tabs?.addEventListener('message', () => this.#refreshSoon());
  }

  close() {
    for (const cleanup of this.#cleanups) cleanup();
    this.#tabs?.close();
  }

  async refresh() {
    try {
      const all = [];
      let cursor = null;
      for (let page = 0; page < MAX_PAGES; page += 1) {
        const { items, total, next_cursor } = await tasks.page(cursor);
        all.push(...items);
        this.#total = total;
        cursor = next_cursor;
        if (!cursor) break;
      }
      this.#items = all;
      this.#draw();
    } catch (error) {
      if (!this.#items) setChildren(this.#status, error.userMessage ?? 'The tasks could not be loaded.');
    }
  }

  #draw() {
    // Redrawing would discard what the user is typing.
    if (this.#editingId !== null) return;
    const open = this.#items.filter((task) => !task.completed);
    const completed = this.#items.filter((task) => task.completed);
    const focusedRow = document.activeElement?.closest('[data-task]');
    const focusedAction = document.activeElement?.dataset.act;
    setChildren(this.#open, open.map((task) => this.#row(task)));
    setChildren(this.#completed, completed.map((task) => this.#row(task)));
    setChildren(this.#completedSection.firstChild, `Done (${completed.length})`);
    this.#completedSection.hidden = completed.length === 0;
    setChildren(this.#count, open.length > 0 && String(open.length));
    setChildren(this.#status, this.#statusText(open.length));
    this.#status.hidden = this.#status.textContent === '';
    if (focusedRow) this.element.querySelector(`[data-task="${focusedRow.dataset.task}"] [data-act="${focusedAction}"]`)?.focus();
  }

  #statusText(openCount) {
    if (this.#items.length === 0) return 'No tasks yet.';
    const hiddenCount = this.#total - this.#items.length;
    if (hiddenCount > 0) return `${hiddenCount} more not shown.`;
    return openCount === 0 ? 'All done.' : '';
  }

  #row(task) {
    const row = h('li', { class: task.completed ? 'task completed' : 'task', 'data-task': task.id });
    const checkbox = h('input', {
      type: 'checkbox', checked: task.completed, 'aria-label': `Done: ${task.title}`, 'data-act': 'check',
      onchange: () => this.#change(() => tasks.update(task.id, { completed: checkbox.checked })),
    });
    setChildren(row, checkbox,
      h('div', { class: 'task-text' }, h('span', { class: 'task-title' }, task.title),
        task.description && h('span', { class: 'task-note' }, task.description)),
      h('span', { class: 'task-number', title: 'Task number' }, `#${task.id}`),
      iconButton('edit', `Edit ${task.title}`, () => this.#edit(row, task), { 'data-act': 'edit' }),
      iconButton('delete', `Delete ${task.title}`, () => this.#delete(task), { 'data-act': 'delete' }));
    return row;
  }

  async #add() {
    const title = this.#input.value;
    if (await this.#change(() => tasks.add(title)) && this.#input.value === title) this.#input.value = '';
    this.#input.focus();
  }

  #edit(row, task) {
    if (this.#editingId !== null) return;
    this.#editingId = task.id;
    showTaskForm(row, task, async (change) => {
      if (change && !await tryAction(() => tasks.update(task.id, change))) return;
      this.#editingId = null;
      this.#tabs?.postMessage('changed');
      await this.refresh();
      this.element.querySelector(`[data-task="${task.id}"] [data-act="edit"]`)?.focus();
    });
  }

  async #delete(task) {
    const confirmed = await confirmDialog({ title: 'Delete the task?', text: `“${task.title}” will be deleted. This can’t be undone.`, action: 'Delete' });
    if (confirmed) await this.#change(() => tasks.delete(task.id));
  }

  /** Runs a change and redraws the list, also in other tabs. Returns whether it succeeded. */
  async #change(action) {
    const succeeded = await tryAction(action);
    if (succeeded) this.#tabs?.postMessage('changed');
    await this.refresh();
    return succeeded;
  }
}
