// The form in place of a task that is being edited.

import { fill, h } from '../dom.js';

/** Puts the form into a row; `done` is given what changed, or null for nothing. */
export function taskForm(row, task, done) {
  const title = h('input', { type: 'text', value: task.title, maxlength: 255, required: true, 'aria-label': 'Title' });
  const description = h('textarea', { rows: 3, maxlength: 2000, placeholder: 'A note', 'aria-label': 'Note' });
  description.value = task.description ?? '';
  const save = (event) => {
    event.preventDefault();
    const change = {};
    if (title.value !== task.title) change.title = title.value;
    if (description.value !== (task.description ?? '')) change.description = description.value;
    done(Object.keys(change).length > 0 ? change : null);
  };
  const leave = (event) => {
    if (event.key !== 'Escape') return;
    event.stopPropagation();
    done(null);
  };
  fill(row, h('form', { class: 'stack task-form', onsubmit: save, onkeydown: leave }, title, description,
    h('div', { class: 'row end' },
      h('button', { type: 'button', class: 'button small', onclick: () => done(null) }, 'Cancel'),
      h('button', { type: 'submit', class: 'button small primary' }, 'Save'))));
  title.focus();
}
