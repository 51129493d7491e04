// Entry point of the admin page: the sign-in form, a refusal for other users, or the admin views.

import { AdminShell } from './admin/shell.js';
import { h, icon, setChildren } from './dom.js';
import { admin } from './net/admin.js';
import { session } from './net/session.js';
import { showSignIn } from './views/sign-in.js';
import { tryAction } from './views/toast.js';

const root = document.getElementById('app');
let shell = null;

async function show(reason) {
  shell?.close();
  shell = null;
  const { user } = session;
  if (!user) {
    showSignIn(root, reason, { heading: 'Errand admin', text: 'Sign in with an admin account.', canRegister: false });
    return;
  }
  try {
    // The server decides who is an admin; the page only makes a request.
    await admin.overview();
    if (isStillSignedIn(user)) shell = new AdminShell(root);
  } catch (error) {
    if (!isStillSignedIn(user) || error.status === 401) return;
    if (error.status === 403) showNotAnAdmin(user);
    else showError(error);
  }
}

/** Whether the same user is signed in as before the request. */
const isStillSignedIn = (user) => session.user?.id === user.id;

function showNotAnAdmin(user) {
  setChildren(root, h('main', { class: 'sign-in' }, h('div', { class: 'sign-in-card', role: 'alert' },
    h('h1', {}, 'Not an admin'),
    h('p', {}, `You are signed in as ${user.email ?? user.name}, which is not an admin account.`),
    h('p', { class: 'muted' }, 'To create an admin account, run ', h('code', {}, 'errand-api create-user --admin'),
      '. If your account has just become an admin, sign out and sign in again.'),
    h('div', { class: 'row' },
      h('a', { class: 'button', href: '/' }, 'Go to the chat'),
      h('button', { type: 'button', id: 'sign-out', class: 'button primary', onclick: () => tryAction(() => session.signOut()) },
        icon('sign-out'), 'Sign out')))));
}

function showError(error) {
  setChildren(root, h('main', { class: 'boot', role: 'alert' }, h('p', {}, error.userMessage ?? 'The page could not be loaded.'),
    h('button', { type: 'button', class: 'button primary', onclick: start }, icon('retry'), 'Try again')));
}

async function start() {
  try {
    if (session.user) await show(null);
    else if (!await session.resume()) await show(null);
  } catch (error) {
    showError(error);
  }
}

session.changed.on(show);
start();
