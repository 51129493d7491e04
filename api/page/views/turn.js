// A turn on the page: the user's message, the tool calls, the answer as it streams in, and buttons for what can be done.

import { markdown } from '../chat/markdown.js';
import { h, icon, setChildren } from '../dom.js';
import { approvalView } from './approval.js';
import { tryAction } from './toast.js';
import { toolView } from './tool.js';

export class TurnView {
  element = h('article', { class: 'turn' });
  #parts = {
    message: h('div', { class: 'message' }),
    delivery: h('div', { class: 'delivery' }),
    tools: h('div', { class: 'tools' }),
    approvals: h('div', { class: 'approvals' }),
    answer: h('div', { class: 'answer prose' }),
    status: h('div', { class: 'status' }),
  };
  #drawn = { text: null, answer: null, approvals: '', status: null };
  #frame = null;
  #removeListener;

  constructor(turn, thread, composer) {
    Object.assign(this, { turn, thread, composer });
    setChildren(this.element, Object.values(this.#parts));
    this.#removeListener = turn.changed.on(() => this.update());
    this.#draw();
  }

  close() {
    this.#removeListener();
    cancelAnimationFrame(this.#frame);
    this.#frame = null;
    this.element.remove();
  }

  /** Redraws in the next animation frame, once for any number of changes. */
  update() {
    // A hidden page has no animation frames.
    if (document.hidden) this.#draw();
    else this.#frame ??= requestAnimationFrame(() => { this.#frame = null; this.#draw(); });
  }

  #draw() {
    const { turn } = this;
    this.element.dataset.state = turn.state;
    if (turn.runId) this.element.dataset.run = turn.runId;
    if (this.#drawn.text !== turn.text) {
      this.#drawn.text = turn.text;
      setChildren(this.#parts.message, turn.text !== null && [h('span', { class: 'visually-hidden' }, 'You: '), h('div', { class: 'bubble' }, turn.text)]);
    }
    turn.tools.forEach((tool, index) => {
      const element = this.#parts.tools.children[index];
      if (!element) this.#parts.tools.append(toolView(tool));
      else toolView(tool, element);
    });
    while (this.#parts.tools.children.length > turn.tools.length) this.#parts.tools.lastChild.remove();
    if (this.#drawn.answer !== turn.answer) {
      this.#drawn.answer = turn.answer;
      setChildren(this.#parts.answer, markdown(turn.answer));
    }
    this.#drawApprovals();
    this.element.setAttribute('aria-busy', String(turn.isOpen));
    this.#drawStatus();
  }

  /** Adds and removes approvals. Those that stay are not redrawn, so that they keep the focus. */
  #drawApprovals() {
    const { turn, thread } = this;
    const ids = turn.approvals.map(({ id }) => id);
    if (this.#drawn.approvals === ids.join()) return;
    this.#drawn.approvals = ids.join();
    const { approvals } = this.#parts;
    for (const element of [...approvals.children]) if (!ids.includes(element.dataset.call)) element.remove();
    for (const approval of turn.approvals.slice(approvals.children.length)) {
      approvals.append(approvalView(approval, (approve) => thread.decide(turn, approval.id, approve)));
    }
  }

  #drawStatus() {
    const { turn, thread } = this;
    const isLast = thread.turns.at(-1) === turn;
    const shown = JSON.stringify([turn.state, turn.stopping, turn.failure, turn.problem?.userMessage, isLast, turn.answer !== '', turn.tools.length]);
    if (shown === this.#drawn.status) return;
    this.#drawn.status = shown;
    setChildren(this.#parts.delivery, delivery(this));
    setChildren(this.#parts.status, status(this, isLast));
  }
}

/** Whether the message has been sent; nothing once the server has accepted it. */
function delivery({ turn, thread, composer }) {
  if (turn.state === 'sending') return turn.problem ? ['Not sent yet: ', turn.problem.userMessage] : 'Sending…';
  if (turn.state !== 'unsent') return null;
  const edit = () => composer.insert(thread.withdraw(turn));
  // The server may have accepted the message although the request failed. Sending it again uses the same key and is
  // safe; editing it would create a second message.
  const isUncertain = turn.problem?.isTransient && turn.problem.status !== 429;
  return h('div', { class: 'callout bad', role: 'alert' },
    h('span', {}, `${isUncertain ? 'We couldn’t confirm this was sent.' : 'Not sent.'} ${turn.problem?.userMessage ?? ''}`),
    h('span', { class: 'row' },
      h('button', { type: 'button', class: 'button small', onclick: () => thread.resend(turn) }, icon('retry'), 'Send again'),
      h('button', { type: 'button', class: 'button small', onclick: edit }, icon('edit'), 'Edit')));
}

/** The state of the run below the answer, with a retry button if the run is the last of its conversation. */
function status({ turn, thread }, isLast) {
  const retryButton = isLast && h('button', { type: 'button', class: 'button small retry', onclick: (event) => retry(event, thread, turn) },
    icon('retry'), 'Try again');
  switch (turn.state) {
    case 'queued': return progress(turn, turn.stopping ? 'Stopping…' : 'In the queue…');
    case 'running': return progress(turn, turn.stopping ? 'Stopping…' : turn.answer ? 'Writing…' : 'Thinking…');
    case 'waiting_approval': return progress(turn, turn.stopping ? 'Stopping…' : 'Waiting for your approval');
    case 'failed': return h('div', { class: 'callout bad', role: 'alert' }, failure(turn), retryButton);
    case 'cancelled': return h('div', { class: 'callout' },
      h('span', {}, turn.tools.length > 0 ? 'Stopped. Changes that the tools above made are kept.' : 'Stopped.'), retryButton);
    default: return null;
  }
}

/** A sentence for everyone, and the reason for those who want to know. */
function failure({ failure: reason }) {
  const details = reason?.replace(/^Agent execution failed: /, '');
  return h('div', { class: 'failure' }, h('p', {}, 'Errand couldn’t answer this message.'),
    details && h('details', {}, h('summary', {}, 'Details'), h('p', {}, `${details[0].toUpperCase()}${details.slice(1)}.`)));
}

/** Three dots and a label, smaller once the answer has started. */
function progress(turn, label) {
  return h('p', { class: turn.answer ? 'working compact' : 'working' }, h('span', { class: 'dots', 'aria-hidden': 'true' }, h('i'), h('i'), h('i')), label);
}

async function retry({ currentTarget }, thread, turn) {
  currentTarget.disabled = true;
  if (!await tryAction(() => thread.retry(turn))) currentTarget.disabled = false;
}
