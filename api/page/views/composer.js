// The message box. Its text is saved as a draft, one per conversation, until it is sent.

import { h, icon } from '../dom.js';
import { session } from '../net/session.js';
import { readItem, writeItem } from '../storage.js';

/** The maximum length of a message, in code points, as the server counts it. */
const MAX_LENGTH = 2000;
/** The count is shown when no more than this many characters are left. */
const SHOW_COUNT_BELOW = 200;

export class Composer {
  #input = h('textarea', {
    id: 'message', rows: 1, placeholder: 'Message Errand…', 'aria-label': 'Message', enterkeyhint: 'send', 'aria-describedby': 'characters-left',
  });
  #charactersLeft = h('span', { id: 'characters-left' });
  #sendButton = h('button', { type: 'submit', class: 'round primary', 'aria-label': 'Send', title: 'Send (Enter)' }, icon('send'));
  #stopButton = h('button', { type: 'button', id: 'stop', class: 'round', 'aria-label': 'Stop', title: 'Stop (Esc)', hidden: true }, icon('stop'));
  #draftKey;

  /** `draftKey()` names the draft; `send(text)` sends a message; `stop()` stops the active run. */
  constructor({ draftKey, send, stop }) {
    this.#draftKey = draftKey;
    this.element = h('form', { class: 'composer' }, h('div', { class: 'composer-box' }, this.#input, this.#stopButton, this.#sendButton),
      h('p', { class: 'hint' },
        h('span', {}, h('kbd', {}, 'Enter'), ' to send, ', h('kbd', {}, 'Shift'), ' + ', h('kbd', {}, 'Enter'), ' for a new line'),
        this.#charactersLeft));
    this.element.addEventListener('submit', (event) => { event.preventDefault(); this.#submit(send); });
    this.#input.addEventListener('input', () => this.#onInput());
    this.#input.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit(send);
    });
    this.#stopButton.addEventListener('click', stop);
    this.#input.value = readItem(this.#storageKey, '');
    queueMicrotask(() => this.#onInput());
  }

  focus() {
    this.#input.focus();
  }

  /** Inserts a text before the text in the box. */
  insert(text) {
    this.#input.value = this.#input.value.trim() ? `${text}\n${this.#input.value}` : text;
    this.#onInput();
    this.focus();
  }

  /** Moves the draft from its old key to the current one. */
  moveDraft(oldKey) {
    writeItem(`${session.user.id}.draft.${oldKey}`, null);
    this.#onInput();
  }

  /** Shows the Stop button while there is an active turn. */
  setActiveTurn(turn) {
    const hadFocus = document.activeElement === this.#stopButton;
    this.#stopButton.hidden = !turn;
    this.#stopButton.disabled = turn?.stopping ?? false;
    if (hadFocus && (!turn || turn.stopping)) this.focus();
  }

  get #storageKey() {
    return `${session.user?.id}.draft.${this.#draftKey()}`;
  }

  #submit(send) {
    const text = this.#input.value;
    if (text.trim() === '' || this.#length > MAX_LENGTH) return;
    const storageKey = this.#storageKey;
    send(text);
    writeItem(storageKey, null);
    this.#input.value = '';
    this.#onInput();
    this.focus();
  }

  get #length() {
    return [...this.#input.value].length;
  }

  #onInput() {
    const text = this.#input.value;
    if (session.user) writeItem(this.#storageKey, text || null);
    const left = MAX_LENGTH - this.#length;
    this.#charactersLeft.textContent = left > SHOW_COUNT_BELOW ? '' : `${characters(Math.abs(left))} ${left >= 0 ? 'left' : 'too many'}`;
    this.#charactersLeft.classList.toggle('bad', left < 0);
    this.#sendButton.disabled = text.trim() === '' || left < 0;
    // Grow with the text, up to the maximum height in the style sheet.
    this.#input.style.height = 'auto';
    this.#input.style.height = `${this.#input.scrollHeight}px`;
  }
}

const characters = (count) => `${count} ${count === 1 ? 'character' : 'characters'}`;
