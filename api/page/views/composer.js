// Where messages are typed. What is typed is kept for each conversation until it is sent.

import { h, icon } from '../dom.js';
import { keep, read } from '../keep.js';
import { session } from '../net/session.js';

/** Characters of a message, at most; the server counts code points, too. */
const MOST = 2000;
/** How many are left when the count is shown. */
const NEAR = 200;

export class Composer {
  #input = h('textarea', {
    id: 'message', rows: 1, placeholder: 'What is there to do?', 'aria-label': 'Message', enterkeyhint: 'send', 'aria-describedby': 'left',
  });
  #left = h('span', { id: 'left', class: 'left' });
  #send = h('button', { type: 'submit', class: 'round primary', 'aria-label': 'Send', title: 'Send (Enter)' }, icon('send'));
  #stop = h('button', { type: 'button', id: 'stop', class: 'round', 'aria-label': 'Stop', title: 'Stop (Esc)', hidden: true }, icon('stop'));
  #place;

  /** `place` names where the text is kept; `send` is given it; `stop` ends the run under way. */
  constructor({ place, send, stop }) {
    this.#place = place;
    this.element = h('form', { class: 'composer' }, h('div', { class: 'composer-box' }, this.#input, this.#stop, this.#send),
      h('p', { class: 'hint' }, h('span', {}, h('kbd', {}, 'Enter'), ' sends, ', h('kbd', {}, 'Shift'), ' + ', h('kbd', {}, 'Enter'), ' begins a line'), this.#left));
    this.element.addEventListener('submit', (event) => { event.preventDefault(); this.#submit(send); });
    this.#input.addEventListener('input', () => this.#typed());
    this.#input.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit(send);
    });
    this.#stop.addEventListener('click', stop);
    this.#input.value = read(this.#name, '');
    queueMicrotask(() => this.#typed());
  }

  focus() {
    this.#input.focus();
  }

  /** Puts a text back, before what has been typed since. */
  put(text) {
    this.#input.value = this.#input.value.trim() ? `${text}\n${this.#input.value}` : text;
    this.#typed();
    this.focus();
  }

  /** The place has got another name. */
  moved(from) {
    keep(`${session.user.id}.draft.${from}`, null);
    this.#typed();
  }

  /** Shows whether there is something to stop. */
  running(turn) {
    const focused = document.activeElement === this.#stop;
    this.#stop.hidden = !turn;
    this.#stop.disabled = turn?.stopping ?? false;
    if (focused && (!turn || turn.stopping)) this.focus();
  }

  get #name() {
    return `${session.user?.id}.draft.${this.#place()}`;
  }

  #submit(send) {
    const text = this.#input.value;
    if (text.trim() === '' || this.#length > MOST) return;
    const name = this.#name;
    send(text);
    keep(name, null);
    this.#input.value = '';
    this.#typed();
    this.focus();
  }

  get #length() {
    return [...this.#input.value].length;
  }

  #typed() {
    const text = this.#input.value;
    if (session.user) keep(this.#name, text || null);
    const left = MOST - this.#length;
    this.#left.textContent = left > NEAR ? '' : left >= 0 ? `${left} characters left` : `${-left} characters too many`;
    this.#left.classList.toggle('bad', left < 0);
    this.#send.disabled = text.trim() === '' || left < 0;
    // As high as its text, up to the style's maximum.
    this.#input.style.height = 'auto';
    this.#input.style.height = `${this.#input.scrollHeight}px`;
  }
}
