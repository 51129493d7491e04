// A side panel, which on a narrow window is a drawer over the rest of the page.

import { h, iconButton } from '../dom.js';

/** The breakpoints of the style sheet. */
const NARROW = { left: '(max-width: 760px)', right: '(max-width: 1080px)' };

export class Drawer {
  #opener = null;
  #backdrop = h('div', { class: 'backdrop', hidden: true, onclick: () => this.close() });
  #narrow;

  constructor(side, label, content) {
    const close = iconButton('close', `Close ${label.toLowerCase()}`, () => this.close(), { class: 'icon-button drawer-close' });
    this.panel = h('aside', { class: `panel ${side}`, 'aria-label': label }, close, content);
    this.elements = [this.#backdrop, this.panel];
    this.#narrow = matchMedia(NARROW[side]);
    this.#narrow.addEventListener('change', () => this.close());
    this.panel.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape' || !this.isOpen) return;
      event.stopPropagation();
      this.close();
    });
    this.#setOpen(false);
  }

  get isOpen() {
    return this.panel.classList.contains('open');
  }

  open() {
    this.#opener = document.activeElement;
    this.#setOpen(true);
    this.panel.querySelector('button, input, a')?.focus();
  }

  close() {
    const wasOpen = this.isOpen;
    this.#setOpen(false);
    if (wasOpen) this.#opener?.focus();
  }

  #setOpen(open) {
    this.panel.classList.toggle('open', open);
    this.#backdrop.hidden = !open;
    // A closed drawer must not take the keyboard focus.
    this.panel.inert = this.#narrow.matches && !open;
  }
}
