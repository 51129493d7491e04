// Short notes at the edge of the page, and questions in a dialog.

import { fill, h, iconButton } from '../dom.js';
import { Problem } from '../net/problem.js';

/** How long a note stays, in milliseconds. */
const STAYS = 7_000;
/** Notes at once, at most. */
const SHOWN = 3;

/** Shows a sentence for a while. */
export function note(sentence, kind = 'plain') {
  const notes = document.getElementById('notes');
  const shown = h('div', { class: `note ${kind}` }, h('span', {}, sentence),
    iconButton('close', 'Dismiss', () => shown.remove()));
  while (notes.children.length >= SHOWN) notes.firstChild.remove();
  notes.append(shown);
  setTimeout(() => shown.remove(), STAYS);
}

/** Shows why something did not work. */
export function complain(fault) {
  if (!(fault instanceof Problem)) throw fault;
  // The login view says that already.
  if (fault.status !== 401) note(fault.sentence, 'bad');
}

/** Runs what a click asks for, and shows why it did not work; whether it did. */
export async function tried(work) {
  try {
    await work();
    return true;
  } catch (fault) {
    complain(fault);
    return false;
  }
}

/** Asks for a yes. */
export async function confirmed({ title, text, action }) {
  return await ask({ title, content: h('p', {}, text), action, danger: true }) !== null;
}

/** Asks for a line of text; null if it is not given. */
export async function lineOf({ title, label, value, action, most = 255 }) {
  const input = h('input', { type: 'text', name: 'line', value, required: true, maxlength: most, autocomplete: 'off' });
  const answered = ask({ title, content: h('label', { class: 'field' }, h('span', {}, label), input), action });
  input.select();
  return await answered === null ? null : input.value;
}

function ask({ title, content, action, danger = false }) {
  const heading = h('h2', { id: 'question' }, title);
  const dialog = h('dialog', { class: 'dialog', 'aria-labelledby': 'question' });
  const cancel = h('button', { type: 'button', class: 'button', onclick: () => dialog.close('') }, 'Cancel');
  const go = h('button', { type: 'submit', class: danger ? 'button danger' : 'button primary' }, action);
  const form = h('form', { onsubmit: (event) => { event.preventDefault(); dialog.close('yes'); } },
    heading, content, h('div', { class: 'row end' }, cancel, go));
  fill(dialog, form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue === 'yes' ? 'yes' : null);
    }, { once: true });
  });
}
