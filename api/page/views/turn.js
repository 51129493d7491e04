// A turn on the page: the user's words, the tools at work, the answer as it grows, and what can be done about it.

import { fill, h, icon } from '../dom.js';
import { markdown } from '../chat/markdown.js';
import { approvalView } from './approval.js';
import { toolView } from './tool.js';
import { tried } from './notes.js';

export class TurnView {
  element = h('article', { class: 'turn' });
  #parts = {
    said: h('div', { class: 'said' }),
    fate: h('div', { class: 'fate' }),
    tools: h('div', { class: 'tools' }),
    approvals: h('div', { class: 'approvals' }),
    answer: h('div', { class: 'answer prose' }),
    foot: h('div', { class: 'foot' }),
  };
  #shown = { text: null, answer: null, approvals: '', foot: null };
  #frame = null;
  #closed;

  constructor(turn, thread, composer, isLast) {
    Object.assign(this, { turn, thread, composer, isLast });
    fill(this.element, Object.values(this.#parts));
    this.#closed = turn.changed.on(() => this.update());
    this.#draw();
  }

  close() {
    this.#closed();
    cancelAnimationFrame(this.#frame);
    this.#frame = null;
    this.element.remove();
  }

  /** Draws with the next frame, however much changes until then. */
  update() {
    // A hidden page has no frames.
    if (document.hidden) this.#draw();
    else this.#frame ??= requestAnimationFrame(() => { this.#frame = null; this.#draw(); });
  }

  #draw() {
    const { turn } = this;
    this.element.dataset.state = turn.state;
    if (turn.runId) this.element.dataset.run = turn.runId;
    if (this.#shown.text !== turn.text) {
      this.#shown.text = turn.text;
      fill(this.#parts.said, turn.text !== null && [h('span', { class: 'quiet' }, 'You: '), h('div', { class: 'bubble' }, turn.text)]);
    }
    turn.tools.forEach((tool, at) => {
      const element = this.#parts.tools.children[at];
      if (!element) this.#parts.tools.append(toolView(tool));
      else toolView(tool, element);
    });
    while (this.#parts.tools.children.length > turn.tools.length) this.#parts.tools.lastChild.remove();
    if (this.#shown.answer !== turn.answer) {
      this.#shown.answer = turn.answer;
      fill(this.#parts.answer, markdown(turn.answer));
    }
    this.#approvals();
    this.element.setAttribute('aria-busy', String(turn.isOpen));
    this.#feet();
  }

  /** The calls that wait; those that are there already stay as they are, with the focus. */
  #approvals() {
    const { turn, thread } = this;
    const ids = turn.approvals.map(({ id }) => id);
    if (this.#shown.approvals === ids.join()) return;
    this.#shown.approvals = ids.join();
    const { approvals } = this.#parts;
    for (const one of [...approvals.children]) if (!ids.includes(one.dataset.call)) one.remove();
    for (const approval of turn.approvals.slice(approvals.children.length)) {
      approvals.append(approvalView(approval, (approve) => thread.decide(turn, approval.id, approve)));
    }
  }

  #feet() {
    const { turn } = this;
    const last = this.isLast(turn);
    const now = JSON.stringify([turn.state, turn.stopping, turn.failure, turn.problem?.sentence, last, turn.answer !== '', turn.tools.length]);
    if (now === this.#shown.foot) return;
    this.#shown.foot = now;
    fill(this.#parts.fate, fate(this));
    fill(this.#parts.foot, foot(this, last));
  }
}

/** What becomes of the user's words, until the server has them. */
function fate({ turn, thread, composer }) {
  if (turn.state === 'sending') return turn.problem ? ['Not sent yet: ', turn.problem.sentence] : 'Sending…';
  if (turn.state !== 'unsent') return null;
  const edit = () => composer.put(thread.takeBack(turn));
  // Whether it arrived may be unknown: sending it again is safe then, saying it anew is not.
  const unknown = turn.problem?.passes && turn.problem.status !== 429;
  return h('div', { class: 'callout bad', role: 'alert' },
    h('span', {}, `${unknown ? 'Not known to have arrived.' : 'Not sent.'} ${turn.problem?.sentence ?? ''}`),
    h('span', { class: 'row' },
      h('button', { type: 'button', class: 'button small', onclick: () => thread.sendAgain(turn) }, icon('again'), 'Send again'),
      h('button', { type: 'button', class: 'button small', onclick: edit }, icon('pen'), 'Edit')));
}

function foot({ turn, thread }, last) {
  const again = last && h('button', { type: 'button', class: 'button small retry', onclick: (event) => retry(event, thread, turn) },
    icon('again'), 'Try again');
  switch (turn.state) {
    case 'queued': return working(turn, turn.stopping ? 'Stopping…' : 'In the queue…');
    case 'running': return working(turn, turn.stopping ? 'Stopping…' : 'Thinking…');
    case 'waiting_approval': return working(turn, turn.stopping ? 'Stopping…' : 'Waits for your approval.');
    case 'failed': return h('div', { class: 'callout bad', role: 'alert' }, h('span', {}, turn.failure ?? 'The run failed.'), again);
    case 'cancelled': return h('div', { class: 'callout' },
      h('span', {}, turn.tools.length > 0 ? 'Stopped. What the tools above have done stays done.' : 'Stopped.'), again);
    default: return null;
  }
}

/** Three dots until there is something to read, a line to the end. */
function working(turn, words) {
  return h('p', { class: turn.answer ? 'working quietly' : 'working' }, h('span', { class: 'dots', 'aria-hidden': 'true' }, h('i'), h('i'), h('i')), words);
}

async function retry({ currentTarget }, thread, turn) {
  currentTarget.disabled = true;
  if (!await tried(() => thread.retry(turn))) currentTarget.disabled = false;
}
