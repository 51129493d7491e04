// The sign-in and registration forms.

import { h, setChildren } from '../dom.js';
import { Problem } from '../net/problem.js';
import { session } from '../net/session.js';

const CHAT = { heading: 'Welcome back', text: 'Sign in to continue.', canRegister: true };

/** Shows the sign-in form. `reason` says why the last session ended, if that needs an explanation. */
export function showSignIn(root, reason, { heading, text, canRegister } = CHAT) {
  let registering = false;
  const draw = () => setChildren(root, h('main', { class: 'sign-in' },
    h('div', { class: 'sign-in-card' },
      h('p', { class: 'brand' }, h('img', { src: '/page/icon.svg', alt: '', width: 36, height: 36 }), 'Errand'),
      h('h1', {}, registering ? 'Create account' : heading),
      h('p', { class: 'muted' }, registering ? 'Tell Errand what you need to do, and it keeps your to-do list.' : text),
      reason && h('p', { class: 'callout', role: 'status' }, reason),
      form(registering),
      canRegister && h('p', { class: 'muted center' }, registering ? 'Already have an account? ' : 'New to Errand? ',
        h('button', { type: 'button', class: 'link', onclick: () => { registering = !registering; draw(); } },
          registering ? 'Sign in' : 'Create account')))));
  draw();
}

function form(registering) {
  const errorText = h('p', { class: 'callout bad', role: 'alert', hidden: true });
  const submit = h('button', { type: 'submit', class: 'button primary wide' }, registering ? 'Create account' : 'Sign in');
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
  const element = h('form', { class: 'stack', onsubmit: onSubmit }, errorText, fields, submit);
  queueMicrotask(() => element.querySelector('input')?.focus());
  return element;

  async function onSubmit(event) {
    event.preventDefault();
    const values = Object.fromEntries(new FormData(element));
    submit.disabled = true;
    errorText.hidden = true;
    for (const input of element.querySelectorAll('[aria-invalid]')) input.removeAttribute('aria-invalid');
    try {
      await session.signIn(registering ? '/auth/register' : '/auth/login', values);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setChildren(errorText, error.userMessage);
      errorText.hidden = false;
      for (const { field: name } of error.fields) element.elements[name]?.setAttribute('aria-invalid', 'true');
      (element.querySelector('[aria-invalid]') ?? element.querySelector('[type=password]')).focus();
    } finally {
      submit.disabled = false;
    }
  }
}

function field(name, label, attributes, hint = null) {
  const help = hint && h('small', { id: `${name}-hint` }, hint);
  const describedBy = hint ? { 'aria-describedby': `${name}-hint` } : {};
  return h('label', { class: 'field' }, h('span', {}, label),
    h('input', { name, type: 'text', required: true, ...attributes, ...describedBy }), help);
}
