// A tool call that waits for approval: its exact arguments and the buttons to approve or decline it.

import { h, icon } from '../dom.js';
import { tryAction } from './toast.js';
import { jsonBlock, toolLabels } from './tool.js';

const TIME = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });

/** Shows a call. `decide(approve)` resolves when the server has stored the decision. */
export function approvalView({ id, name, arguments: args, expiresAt }, decide) {
  const [label] = toolLabels(name);
  const expiry = expiresAt && h('span', { class: 'muted' }, `Expires at ${TIME.format(new Date(expiresAt))}`);
  const buttons = h('span', { class: 'row' },
    h('button', { type: 'button', class: 'button small primary approve', onclick: () => submit(true) }, icon('check'), 'Approve'),
    h('button', { type: 'button', class: 'button small decline', onclick: () => submit(false) }, icon('cross'), 'Decline'));
  async function submit(approve) {
    const both = buttons.querySelectorAll('button');
    for (const button of both) button.disabled = true;
    if (await tryAction(() => decide(approve))) return;
    for (const button of both) button.disabled = false;
  }
  return h('section', { class: 'approval', 'data-call': id, 'aria-label': `${label}: needs your approval` },
    h('p', {}, h('strong', {}, label), ' needs your approval. If you approve, it runs with exactly these arguments:'),
    jsonBlock(args),
    h('div', { class: 'row' }, buttons, expiry));
}
