// The two side panels, which on a narrow page are drawers over the rest.

import { h, iconButton } from '../dom.js';

/** As the style sheet has it. */
const NARROW = { left: '(max-width: 760px)', right: '(max-width: 1080px)' };

export class Drawer {
  #opener = null;
  #curtain = h('div', { class: 'curtain', hidden: true, onclick: () => this.close() });
  #narrow;

  constructor(side, label, content) {
    const close = iconButton('close', `Close ${label.toLowerCase()}`, () => this.close(), { class: 'icon-button drawer-close' });
    this.panel = h('aside', { class: `panel ${side}`, 'aria-label': label }, close, content);
    this.elements = [this.#curtain, this.panel];
    this.#narrow = matchMedia(NARROW[side]);
    this.#narrow.addEventListener('change', () => this.close());
    this.panel.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape' || !this.isOpen) return;
      event.stopPropagation();
      this.close();
    });
    this.#apply(false);
  }

  get isOpen() {
    return this.panel.classList.contains('open');
  }

  open() {
    this.#opener = document.activeElement;
    this.#apply(true);
    this.panel.querySelector('button, input, a')?.focus();
  }

  close() {
    const was = this.isOpen;
    this.#apply(false);
    if (was) this.#opener?.focus();
  }

  #apply(open) {
    this.panel.classList.toggle('open', open);
    this.#curtain.hidden = !open;
    // A drawer that is shut is not in the way of the keyboard.
    this.panel.inert = this.#narrow.matches && !open;
  }
}
