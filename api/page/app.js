// Entry point of the chat page: the sign-in form, or the chat once a user is signed in.

import { h, setChildren } from './dom.js';
import { session } from './net/session.js';
import { Shell } from './views/shell.js';
import { showSignIn } from './views/sign-in.js';

const root = document.getElementById('app');
let shell = null;
/** The user whose conversation may be in the address. */
let addressOwner = null;

function show(reason, isExpired = false) {
  shell?.close();
  shell = null;
  const userId = session.user?.id ?? null;
  // The next user of this browser must not be sent to the conversation of the last one.
  if (addressOwner !== null && userId !== addressOwner && !isExpired) history.replaceState(null, '', location.pathname);
  if (!isExpired) addressOwner = userId;
  if (session.user) shell = new Shell(root);
  else showSignIn(root, reason);
}

async function start() {
  try {
    if (!await session.resume()) show(null);
  } catch (error) {
    setChildren(root, h('main', { class: 'boot', role: 'alert' }, h('p', {}, error.userMessage ?? 'The page could not be loaded.'),
      h('button', { type: 'button', class: 'button primary', onclick: start }, 'Try again')));
  }
}

session.changed.on(show);
start();
