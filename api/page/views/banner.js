// The banner at the top of the page while the server can't be reached.

import { h } from '../dom.js';
import { live } from '../net/live.js';

export class BannerView {
  element = h('div', { class: 'banner', role: 'status', hidden: true },
    h('span', { class: 'spinner' }), 'You are offline. What you type is saved. Reconnecting…',
    h('button', { type: 'button', class: 'link', onclick: () => live.reconnect() }, 'Try now'));
  close;

  constructor() {
    this.close = live.changed.on((state) => { this.element.hidden = state !== 'offline'; });
  }
}
