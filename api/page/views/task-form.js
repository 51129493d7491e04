// The form that edits a task in its row.

import { h, setChildren } from '../dom.js';

/** Replaces a row with the form. `done` receives the changed fields, or null if nothing changed. */
export function showTaskForm(row, task, done) {
  const title = h('input', { type: 'text', value: task.title, maxlength: 255, required: true, 'aria-label': 'Title' });
  const description = h('textarea', { rows: 3, maxlength: 2000, placeholder: 'Add a note', 'aria-label': 'Note' });
  description.value = task.description ?? '';
  const onSubmit = (event) => {
    event.preventDefault();
    const change = {};
    if (title.value !== task.title) change.title = title.value;
    if (description.value !== (task.description ?? '')) change.description = description.value;
    done(Object.keys(change).length > 0 ? change : null);
  };
  const onKeydown = (event) => {
    if (event.key !== 'Escape') return;
    event.stopPropagation();
    done(null);
  };
  setChildren(row, h('form', { class: 'stack task-form', onsubmit: onSubmit, onkeydown: onKeydown }, title, description,
    h('div', { class: 'row end' },
      h('button', { type: 'button', class: 'button small', onclick: () => done(null) }, 'Cancel'),
      h('button', { type: 'submit', class: 'button small primary' }, 'Save'))));
  title.focus();
}
