// The to-do list: follows what tools do in any conversation, and can be changed by hand.

import { fill, h, icon, iconButton } from '../dom.js';
import { gathered } from '../signal.js';
import { tasks } from '../net/api.js';
import { live } from '../net/live.js';
import { confirmed, tried } from './notes.js';
import { taskForm } from './task-form.js';

/** After these the list may be another. */
const CHANGES = new Set(['tool.finished', 'run.succeeded', 'run.failed', 'run.cancelled', 'looked']);
/** Tasks that are shown at most: so many pages of a hundred. */
const PAGES = 5;

export class TasksView {
  #items = null;
  #total = 0;
  #editing = null;
  #list = h('ul', { class: 'tasks' });
  #done = h('ul', { class: 'tasks' });
  #finished = h('details', { class: 'finished', hidden: true }, h('summary'), this.#done);
  #state = h('p', { class: 'soft center' }, 'Loading…');
  #count = h('span', { class: 'count' });
  #input = h('input', { type: 'text', maxlength: 255, required: true, placeholder: 'Add a task', 'aria-label': 'New task', autocomplete: 'off' });
  #closed = [];
  #soon = gathered(() => this.refresh(), 80);
  #others = 'BroadcastChannel' in globalThis ? new BroadcastChannel('errand.tasks') : null;

  constructor() {
    const add = h('form', { class: 'add', onsubmit: (event) => { event.preventDefault(); this.#add(); } },
      this.#input, h('button', { type: 'submit', class: 'icon-button', 'aria-label': 'Add the task', title: 'Add' }, icon('plus')));
    this.element = h('section', { class: 'task-list', 'aria-labelledby': 'tasks-title' },
      h('h2', { id: 'tasks-title' }, 'Tasks', this.#count), add, this.#state, this.#list, this.#finished);
    this.#closed.push(
      live.events.on((event) => { if (CHANGES.has(event.type)) this.#soon(); }),
      live.changed.on((state) => { if (state === 'live') this.#soon(); }),
    );
    this.#others?.addEventListener('message', () => this.#soon());
  }

  close() {
    for (const close of this.#closed) close();
    this.#others?.close();
  }

  async refresh() {
    try {
      const all = [];
      let cursor = null;
      for (let page = 0; page < PAGES; page += 1) {
        const { items, total, next_cursor } = await tasks.page(cursor);
        all.push(...items);
        this.#total = total;
        cursor = next_cursor;
        if (!cursor) break;
      }
      this.#items = all;
      this.#draw();
    } catch (fault) {
      if (!this.#items) fill(this.#state, fault.sentence ?? 'The list could not be read.');
    }
  }

  #draw() {
    // What is being edited is not taken out of anybody's hands.
    if (this.#editing !== null) return;
    const open = this.#items.filter((task) => !task.completed);
    const done = this.#items.filter((task) => task.completed);
    const focused = document.activeElement?.closest('[data-task]');
    const what = document.activeElement?.dataset.act;
    fill(this.#list, open.map((task) => this.#row(task)));
    fill(this.#done, done.map((task) => this.#row(task)));
    fill(this.#finished.firstChild, `Done (${done.length})`);
    this.#finished.hidden = done.length === 0;
    fill(this.#count, open.length > 0 && String(open.length));
    const beyond = this.#total - this.#items.length;
    fill(this.#state, this.#items.length === 0 ? 'Nothing to do.' : beyond > 0 ? `${beyond} more are not shown.` : open.length === 0 ? 'All done.' : '');
    this.#state.hidden = this.#state.textContent === '';
    if (focused) this.element.querySelector(`[data-task="${focused.dataset.task}"] [data-act="${what}"]`)?.focus();
  }

  #row(task) {
    const row = h('li', { class: task.completed ? 'task completed' : 'task', 'data-task': task.id });
    const box = h('input', {
      type: 'checkbox', checked: task.completed, 'aria-label': `Done: ${task.title}`, 'data-act': 'check',
      onchange: () => this.#change(() => tasks.change(task.id, { completed: box.checked })),
    });
    fill(row, box,
      h('div', { class: 'task-text' }, h('span', { class: 'task-title' }, task.title),
        task.description && h('span', { class: 'task-note' }, task.description)),
      h('span', { class: 'task-number', title: 'Its number' }, `#${task.id}`),
      iconButton('pen', `Edit ${task.title}`, () => this.#edit(row, task), { 'data-act': 'edit' }),
      iconButton('bin', `Delete ${task.title}`, () => this.#remove(task), { 'data-act': 'delete' }));
    return row;
  }

  async #add() {
    const title = this.#input.value;
    if (await this.#change(() => tasks.add(title)) && this.#input.value === title) this.#input.value = '';
    this.#input.focus();
  }

  #edit(row, task) {
    if (this.#editing !== null) return;
    this.#editing = task.id;
    const done = async (change) => {
      if (change && !await tried(() => tasks.change(task.id, change))) return;
      this.#editing = null;
      this.#others?.postMessage('changed');
      await this.refresh();
      this.element.querySelector(`[data-task="${task.id}"] [data-act="edit"]`)?.focus();
    };
    taskForm(row, task, done);
  }

  async #remove(task) {
    const sure = await confirmed({ title: 'Delete the task?', text: `“${task.title}” goes for good.`, action: 'Delete' });
    if (sure) await this.#change(() => tasks.remove(task.id));
  }

  async #change(work) {
    const worked = await tried(work);
    if (worked) this.#others?.postMessage('changed');
    await this.refresh();
    return worked;
  }
}
