// A line above everything while the server can't be reached.

import { h } from '../dom.js';
import { live } from '../net/live.js';

export class BannerView {
  element = h('div', { class: 'banner', role: 'status', hidden: true },
    h('span', { class: 'spinner' }), 'The connection is lost. What you type is kept; trying again…',
    h('button', { type: 'button', class: 'link', onclick: () => live.retry() }, 'Try now'));
  close;

  constructor() {
    this.close = live.changed.on((state) => { this.element.hidden = state !== 'away'; });
  }
}
