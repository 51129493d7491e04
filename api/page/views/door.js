// Logging in and registering.

import { fill, h } from '../dom.js';
import { Problem } from '../net/problem.js';
import { session } from '../net/session.js';

const FOR_EVERYBODY = { heading: 'Welcome back', words: 'Log in to go on with your list.', registers: true };

/** Shows the door; `why` is a sentence about how the last session ended. */
export function door(root, why, { heading, words, registers } = FOR_EVERYBODY) {
  let registering = false;
  const show = () => fill(root, h('main', { class: 'door' },
    h('div', { class: 'door-card' },
      h('p', { class: 'brand' }, h('img', { src: '/page/icon.svg', alt: '', width: 36, height: 36 }), 'Errand'),
      h('h1', {}, registering ? 'Make an account' : heading),
      h('p', { class: 'soft' }, registering ? 'Tell Errand what there is to do, and it keeps the list.' : words),
      why && h('p', { class: 'callout', role: 'status' }, why),
      form(registering),
      registers && h('p', { class: 'soft center' }, registering ? 'You have been here before? ' : 'New here? ',
        h('button', { type: 'button', class: 'link', onclick: () => { registering = !registering; show(); } },
          registering ? 'Log in' : 'Make an account')))));
  show();
}

function form(registering) {
  const trouble = h('p', { class: 'callout bad', role: 'alert', hidden: true });
  const submit = h('button', { type: 'submit', class: 'button primary wide' }, registering ? 'Make the account' : 'Log in');
  const fields = [
    registering && field('name', 'Name', { autocomplete: 'name', maxlength: 100 }),
    field('email', 'E-mail', { type: 'email', autocomplete: 'username', maxlength: 254, inputmode: 'email' }),
    field('password', 'Password', {
      type: 'password',
      autocomplete: registering ? 'new-password' : 'current-password',
      maxlength: 128,
      ...(registering ? { minlength: 8 } : {}),
    }, registering ? 'At least 8 characters.' : null),
  ];
  const made = h('form', { class: 'stack', onsubmit: enter }, trouble, fields, submit);
  queueMicrotask(() => made.querySelector('input')?.focus());
  return made;

  async function enter(event) {
    event.preventDefault();
    const given = Object.fromEntries(new FormData(made));
    submit.disabled = true;
    trouble.hidden = true;
    for (const input of made.querySelectorAll('[aria-invalid]')) input.removeAttribute('aria-invalid');
    try {
      await session.enter(registering ? '/auth/register' : '/auth/login', given);
    } catch (fault) {
      if (!(fault instanceof Problem)) throw fault;
      fill(trouble, fault.sentence);
      trouble.hidden = false;
      for (const { field: name } of fault.fields) made.elements[name]?.setAttribute('aria-invalid', 'true');
      (made.querySelector('[aria-invalid]') ?? made.querySelector('[type=password]')).focus();
    } finally {
      submit.disabled = false;
    }
  }
}

function field(name, label, attributes, hint = null) {
  const help = hint && h('small', { id: `${name}-hint` }, hint);
  const described = hint ? { 'aria-describedby': `${name}-hint` } : {};
  return h('label', { class: 'field' }, h('span', {}, label),
    h('input', { name, type: 'text', required: true, ...attributes, ...described }), help);
}
