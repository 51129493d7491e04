// A tool call that waits for the user: what it would do, exactly, and the two answers.

import { h, icon } from '../dom.js';
import { tried } from './notes.js';
import { words, given } from './tool.js';

const TIME = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });

/** Asks about a call; `decide` is given the answer and ends when the server has it. */
export function approvalView({ id, name, arguments: shown, expiresAt }, decide) {
  const [doing] = words(name);
  const until = expiresAt && h('span', { class: 'soft' }, `Until ${TIME.format(new Date(expiresAt))}`);
  const buttons = h('span', { class: 'row' },
    h('button', { type: 'button', class: 'button small primary approve', onclick: () => answer(true) }, icon('check'), 'Approve'),
    h('button', { type: 'button', class: 'button small decline', onclick: () => answer(false) }, icon('cross'), 'Decline'));
  async function answer(approve) {
    const all = buttons.querySelectorAll('button');
    for (const button of all) button.disabled = true;
    if (await tried(() => decide(approve))) return;
    for (const button of all) button.disabled = false;
  }
  return h('section', { class: 'approval', 'data-call': id, 'aria-label': `${doing}: needs your approval` },
    h('p', {}, h('strong', {}, doing), ' needs your approval. It will be done exactly like this, or not at all:'),
    given(shown),
    h('div', { class: 'row' }, buttons, until));
}
