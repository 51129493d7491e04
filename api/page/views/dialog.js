// Modal dialogs: a confirmation, and a prompt for one line of text.

import { h, setChildren } from '../dom.js';

/** Asks for confirmation. Returns whether the user agreed. */
export function confirmDialog({ title, text, action }) {
  return show({ title, content: h('p', {}, text), action, isDangerous: true });
}

/** Asks for one line of text. Returns null if the user cancels. */
export async function promptDialog({ title, label, value, action, maxLength = 255 }) {
  const input = h('input', { type: 'text', name: 'line', value, required: true, maxlength: maxLength, autocomplete: 'off' });
  const confirmed = show({ title, content: h('label', { class: 'field' }, h('span', {}, label), input), action });
  input.select();
  return await confirmed ? input.value : null;
}

/** Shows a dialog. Resolves to whether it was submitted. */
function show({ title, content, action, isDangerous = false }) {
  const dialog = h('dialog', { class: 'dialog', 'aria-labelledby': 'dialog-title' });
  const cancel = h('button', { type: 'button', class: 'button', onclick: () => dialog.close('') }, 'Cancel');
  const submit = h('button', { type: 'submit', class: isDangerous ? 'button danger' : 'button primary' }, action);
  setChildren(dialog, h('form', { onsubmit: (event) => { event.preventDefault(); dialog.close('submitted'); } },
    h('h2', { id: 'dialog-title' }, title), content, h('div', { class: 'row end' }, cancel, submit)));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue === 'submitted');
    }, { once: true });
  });
}
