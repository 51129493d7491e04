// Toasts: short messages in the corner of the page.

import { h, iconButton } from '../dom.js';
import { Problem } from '../net/problem.js';

/** How long a toast is shown, in milliseconds. */
const DURATION = 7_000;
/** How many toasts are shown at once. */
const MAX_TOASTS = 3;

export function showToast(message, kind = 'plain') {
  const toasts = document.getElementById('toasts');
  const toast = h('div', { class: `toast ${kind}` }, h('span', {}, message),
    iconButton('close', 'Dismiss', () => toast.remove()));
  while (toasts.children.length >= MAX_TOASTS) toasts.firstChild.remove();
  toasts.append(toast);
  setTimeout(() => toast.remove(), DURATION);
}

/** Runs a user's action and shows a toast if a request fails. Returns whether it succeeded. */
export async function tryAction(action) {
  try {
    await action();
    return true;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    // After a 401 the sign-in page explains what happened.
    if (error.status !== 401) showToast(error.userMessage, 'bad');
    return false;
  }
}
