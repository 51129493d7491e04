// Where the page begins: the door for who is out, the shell for who is in.

import { fill, h } from './dom.js';
import { session } from './net/session.js';
import { door } from './views/door.js';
import { Shell } from './views/shell.js';

const root = document.getElementById('app');
let shell = null;

function show(why) {
  shell?.close();
  shell = null;
  if (session.user) shell = new Shell(root);
  else door(root, why);
}

async function begin() {
  try {
    if (!await session.resume()) show(null);
  } catch (fault) {
    fill(root, h('main', { class: 'boot', role: 'alert' }, h('p', {}, fault.sentence ?? 'The page could not start.'),
      h('button', { type: 'button', class: 'button primary', onclick: begin }, 'Try again')));
  }
}

session.changed.on(show);
begin();
