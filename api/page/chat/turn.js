// One turn of a conversation: the user's message, its run and the answer. Its state comes from run events, from the run
// as the API returns it, and from stored messages.

import { Emitter } from '../async.js';

/** States of a run that has finished. */
const FINAL_STATES = new Set(['succeeded', 'failed', 'cancelled']);

const FINAL_EVENTS = new Set(['run.succeeded', 'run.failed', 'run.cancelled']);

export class Turn {
  changed = new Emitter();
  /** The id of the run; null until the message is accepted. */
  runId = null;
  /** The idempotency key, if the message was sent from this page. */
  key = null;
  /** The numbers of the stored messages within the conversation. */
  #questionSeq = null;
  #answerSeq = null;
  /** `sending`, `unsent`, `unknown` (not loaded yet), or the state of the run. */
  state = 'unknown';
  text = null;
  at = null;
  answer = '';
  /** `{id, name, arguments, result, success}`; `result` is undefined while the call is in progress. */
  tools = [];
  /** Calls that wait for approval: `{id, name, arguments, expiresAt}`. */
  approvals = [];
  /** Why the run failed, as a sentence. */
  failure = null;
  /** Why the message is not sent yet. */
  problem = null;
  /** Whether the user has asked to stop the run. */
  stopping = false;
  #lastSeq = 0;

  constructor(fields) {
    Object.assign(this, fields);
  }

  get isFinal() {
    return FINAL_STATES.has(this.state);
  }

  get isOpen() {
    return ['queued', 'running', 'waiting_approval'].includes(this.state);
  }

  /**
   * Sort key. A question that is not loaded is on an older page, so its answer precedes all loaded questions. A message
   * that is not stored yet comes last.
   */
  get position() {
    if (this.#questionSeq !== null) return this.#questionSeq;
    return this.#answerSeq === null ? Number.MAX_SAFE_INTEGER : this.#answerSeq - Number.MAX_SAFE_INTEGER;
  }

  /** The number of the last event applied. */
  get lastSeq() {
    return this.#lastSeq;
  }

  applyEvent(event) {
    const { seq, type, data } = event;
    if (seq !== undefined) {
      if (!this.#accepts(event)) return;
      this.#lastSeq = seq;
    }
    switch (type) {
      case 'run.queued': this.answer = ''; this.reopen(); return;
      case 'run.started': this.state = 'running'; this.approvals = []; break;
      case 'message.delta': this.state = 'running'; this.answer += data.text; break;
      case 'message.reset': this.answer = data.text ?? ''; break;
      case 'tool.started': this.state = 'running'; this.#updateTool(data); break;
      case 'tool.finished': this.#updateTool(data); break;
      case 'approval.requested': this.state = 'waiting_approval'; this.#addApproval(data); break;
      case 'run.succeeded': case 'run.snapshot': this.applyRun(data.response); return;
      case 'run.failed': this.#finish('failed', data.problem?.detail); return;
      case 'run.cancelled': this.#finish('cancelled'); return;
      default: return;
    }
    this.changed.emit();
  }

  /** Prepares for all events being sent again. */
  resetSeq() {
    this.#lastSeq = 0;
  }

  /**
   * Whether an event applies. Each event applies once. A turn that missed the first events waits until they are sent
   * again. After the end of a run only a retry applies.
   */
  #accepts({ seq, type, attempt }) {
    if (seq <= this.#lastSeq) return false;
    if (FINAL_EVENTS.has(type)) return true;
    if (this.isFinal) return type === 'run.queued' && (attempt > 0 || this.state === 'cancelled');
    return this.#lastSeq > 0 || type === 'run.queued';
  }

  /** Applies the run as the API returns it, finished or not. */
  applyRun(response) {
    for (const call of response.tool_calls ?? []) this.#updateTool(call);
    if (FINAL_STATES.has(response.status)) {
      this.answer = response.status === 'succeeded' ? response.message : this.answer;
      this.#finish(response.status, response.problem?.detail);
      return;
    }
    // A response that was sent before the run finished must not reopen it: only a retry does.
    if (this.isFinal) return;
    this.state = response.status;
    this.approvals = [];
    for (const call of response.approvals ?? []) this.#addApproval(call);
    this.changed.emit();
  }

  /** Applies a stored message of the run. */
  applyMessage(message) {
    if (message.role === 'user') {
      this.text = message.content;
      this.at = message.created_at;
      this.#questionSeq = message.seq;
    } else if (message.role === 'assistant') {
      this.#answerSeq = message.seq;
      this.answer = message.content;
      for (const call of message.tool_calls ?? []) this.#updateTool(call);
      this.state = 'succeeded';
      this.stopping = false;
    }
    this.changed.emit();
  }

  /** Marks the run as queued again. */
  reopen() {
    if (this.isFinal) this.answer = '';
    Object.assign(this, { state: 'queued', approvals: [], failure: null, problem: null, stopping: false });
    this.changed.emit();
  }

  #updateTool({ tool_call_id, tool_name, arguments: args, result, success }) {
    const known = this.tools.find((tool) => tool.id === tool_call_id);
    const tool = known ?? { id: tool_call_id, name: tool_name, arguments: args };
    if (result !== undefined) {
      tool.result = result;
      tool.success = success ?? result?.success !== false;
    }
    if (!known) this.tools.push(tool);
  }

  #addApproval({ tool_call_id: id, tool_name: name, arguments: args, expires_at: expiresAt }) {
    if (!this.approvals.some((approval) => approval.id === id)) this.approvals.push({ id, name, arguments: args, expiresAt });
  }

  #finish(state, failure = null) {
    Object.assign(this, { state, approvals: [], stopping: false, failure: state === 'failed' ? failure : null });
    this.changed.emit();
  }
}
