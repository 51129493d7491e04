// Where the page for admins begins: the door for who is out, a sentence for who is no admin, the shell for who is.

import { fill, h, icon } from './dom.js';
import { admin } from './net/admin.js';
import { session } from './net/session.js';
import { AdminShell } from './admin/shell.js';
import { door } from './views/door.js';
import { tried } from './views/notes.js';

const root = document.getElementById('app');
let shell = null;

async function show(why) {
  shell?.close();
  shell = null;
  const { user } = session;
  if (!user) {
    door(root, why, { heading: 'Errand for admins', words: 'Log in with an account whose role is admin.', registers: false });
    return;
  }
  try {
    // The server decides who is an admin; the page only asks.
    await admin.overview();
    if (isStill(user)) shell = new AdminShell(root);
  } catch (fault) {
    if (!isStill(user) || fault.status === 401) return;
    if (fault.status === 403) notAnAdmin(user);
    else trouble(fault);
  }
}

/** Whether nobody else has come in meanwhile. */
const isStill = (user) => session.user?.id === user.id;

function notAnAdmin(user) {
  fill(root, h('main', { class: 'door' }, h('div', { class: 'door-card', role: 'alert' },
    h('h1', {}, 'Not an admin'),
    h('p', {}, `You are logged in as ${user.email ?? user.name}, and that account’s role is not admin.`),
    h('p', { class: 'soft' }, 'An admin’s account is made with ', h('code', {}, 'errand-api create-user --admin'),
      '. A role that was given a moment ago counts from the next login.'),
    h('div', { class: 'row' },
      h('a', { class: 'button', href: '/' }, 'Go to the chat'),
      h('button', { type: 'button', id: 'log-out', class: 'button primary', onclick: () => tried(() => session.leave()) },
        icon('leave'), 'Log out')))));
}

function trouble(fault) {
  fill(root, h('main', { class: 'boot', role: 'alert' }, h('p', {}, fault.sentence ?? 'The page could not start.'),
    h('button', { type: 'button', class: 'button primary', onclick: begin }, icon('again'), 'Try again')));
}

async function begin() {
  try {
    if (session.user) await show(null);
    else if (!await session.resume()) await show(null);
  } catch (fault) {
    trouble(fault);
  }
}

session.changed.on(show);
begin();
