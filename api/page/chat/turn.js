// One turn of a conversation: what the user said, the run it started, and what came of it. A run's events change it, each
// once; its stored messages and the run's answer say the same with other words.

import { Signal } from '../signal.js';

/** States of a run that has ended. */
export const FINAL = new Set(['succeeded', 'failed', 'cancelled']);

/** Events that end a run. */
const ENDS = new Set(['run.succeeded', 'run.failed', 'run.cancelled']);

export class Turn {
  /** Told after each change. */
  changed = new Signal();
  /** The run; none while the message is on its way. */
  runId = null;
  /** Its key, if it was sent from here. */
  key = null;
  /** Place of the message in the conversation. */
  seq = Number.MAX_SAFE_INTEGER;
  /** `sending`, `unsent`, `unknown` (not looked at yet), or the state of the run. */
  state = 'unknown';
  text = null;
  at = null;
  answer = '';
  /** `{id, name, arguments, result, success}`; a result that is undefined is yet to come. */
  tools = [];
  /** `{id, name, arguments, expiresAt}`: the calls about which the user is to decide. */
  approvals = [];
  /** Why it failed, as a sentence. */
  failure = null;
  /** Of an unsent message: its problem. */
  problem = null;
  /** Whether the user has asked for its end. */
  stopping = false;
  #heard = 0;

  constructor(about) {
    Object.assign(this, about);
  }

  get isFinal() {
    return FINAL.has(this.state);
  }

  get isOpen() {
    return ['queued', 'running', 'waiting_approval'].includes(this.state);
  }

  /** The number of the last event. */
  get heard() {
    return this.#heard;
  }

  /** Takes an event of the run, if it is its turn. */
  hear(event) {
    const { seq, type, data } = event;
    if (seq !== undefined) {
      if (!this.#counts(event)) return;
      this.#heard = seq;
    }
    switch (type) {
      case 'run.queued': this.answer = ''; this.reopen(); return;
      case 'run.started': this.state = 'running'; this.approvals = []; break;
      case 'message.delta': this.state = 'running'; this.answer += data.text; break;
      case 'message.reset': this.answer = data.text ?? ''; break;
      case 'tool.started': this.state = 'running'; this.#tool(data); break;
      case 'tool.finished': this.#tool(data); break;
      case 'approval.requested': this.state = 'waiting_approval'; this.#asked(data); break;
      case 'run.succeeded': case 'looked': this.take(data.response); return;
      case 'run.failed': this.#end('failed', data.problem?.detail); return;
      case 'run.cancelled': this.#end('cancelled'); return;
      default: return;
    }
    this.changed.tell();
  }

  /** The events come again from the first. */
  restart() {
    this.#heard = 0;
  }

  /** Each event counts once; who comes late begins with the first, which is told again; after the end only a retry counts. */
  #counts({ seq, type, attempt }) {
    if (seq <= this.#heard) return false;
    if (ENDS.has(type)) return true;
    if (this.isFinal) return type === 'run.queued' && (attempt > 0 || this.state === 'cancelled');
    return this.#heard > 0 || type === 'run.queued';
  }

  /** Takes the run's answer, as far as it has come. */
  take(response) {
    for (const call of response.tool_calls ?? []) this.#tool(call);
    if (FINAL.has(response.status)) {
      this.answer = response.status === 'succeeded' ? response.message : this.answer;
      this.#end(response.status, response.problem?.detail);
      return;
    }
    // An answer that was under way when the end was told takes nothing back: only a retry does.
    if (this.isFinal) return;
    this.state = response.status;
    this.approvals = [];
    for (const call of response.approvals ?? []) this.#asked(call);
    this.changed.tell();
  }

  /** Takes a stored message of the run. */
  store(message) {
    if (message.role === 'user') {
      this.text = message.content;
      this.at = message.created_at;
      this.seq = message.seq;
    } else if (message.role === 'assistant') {
      this.answer = message.content;
      for (const call of message.tool_calls ?? []) this.#tool(call);
      this.state = 'succeeded';
      this.stopping = false;
    }
    this.changed.tell();
  }

  /** It is queued again. */
  reopen() {
    if (this.isFinal) this.answer = '';
    Object.assign(this, { state: 'queued', approvals: [], failure: null, problem: null, stopping: false });
    this.changed.tell();
  }

  #tool({ tool_call_id, tool_name, arguments: given, result, success }) {
    const known = this.tools.find((tool) => tool.id === tool_call_id);
    const tool = known ?? { id: tool_call_id, name: tool_name, arguments: given };
    if (result !== undefined) {
      tool.result = result;
      tool.success = success ?? result?.success !== false;
    }
    if (!known) this.tools.push(tool);
  }

  #asked({ tool_call_id: id, tool_name: name, arguments: given, expires_at: expiresAt }) {
    if (!this.approvals.some((one) => one.id === id)) this.approvals.push({ id, name, arguments: given, expiresAt });
  }

  #end(state, why = null) {
    Object.assign(this, { state, approvals: [], stopping: false, failure: state === 'failed' ? why : null });
    this.changed.tell();
  }
}
