// A failed request, with a message for the user.

export class Problem extends Error {
  /** `status` is 0 if there was no response. `retryAfter` is in seconds. */
  constructor(status, body = {}, retryAfter = null) {
    super(body.detail ?? body.title ?? '');
    this.status = status;
    this.detail = body.detail ?? '';
    this.fields = body.errors ?? [];
    this.runId = body.run_id ?? null;
    this.conversationId = body.conversation_id ?? null;
    this.retryAfter = retryAfter;
  }

  static fromBody(body) {
    const status = typeof body?.status === 'number' ? body.status : 500;
    const seconds = Number(body?.retry_after);
    return new Problem(status, body, Number.isFinite(seconds) && seconds > 0 ? seconds : null);
  }

  /** Whether repeating the request may succeed. The server may or may not have carried it out. */
  get isTransient() {
    return this.status === 0 || this.status === 408 || this.status === 429 || (this.status >= 500 && this.status !== 501);
  }

  get userMessage() {
    const detail = this.detail.replace(/\s*[.:]?\s*$/, '');
    switch (this.status) {
      case 0: return 'The server can’t be reached.';
      case 400: return `The server did not understand the request: ${detail || 'bad request'}.`;
      case 401: return detail ? `${detail}.` : 'You are no longer signed in.';
      case 403: return detail ? `Not allowed: ${detail}.` : 'You are not allowed to do that.';
      case 404: return detail ? `${detail}.` : 'This no longer exists.';
      case 408: return 'The request took too long to arrive.';
      case 409: return detail ? `${detail}.` : 'Something else changed at the same time.';
      case 413: return 'The request is too large.';
      case 415: return 'The server does not accept this kind of request.';
      case 422: return this.fields.length > 0 ? `${this.fields.map(fieldMessage).join('; ')}.` : `${detail || 'A value is not valid'}.`;
      case 429: return `${detail || 'Too many requests'}. Try again ${this.#retryTime}.`;
      case 502: return detail ? `${detail}.` : 'The model could not answer.';
      case 503: return `${detail || 'The server is busy'}. Try again ${this.#retryTime}.`;
      default: return detail ? `${detail}.` : `The server returned status ${this.status}.`;
    }
  }

  get #retryTime() {
    if (this.retryAfter === null) return 'in a moment';
    return this.retryAfter === 1 ? 'in a second' : `in ${this.retryAfter} seconds`;
  }
}

const FIELD_NAMES = { email: 'E-mail', password: 'Password', name: 'Name', message: 'The message', title: 'The title', description: 'The note' };

function fieldMessage({ field, message }) {
  return field ? `${FIELD_NAMES[field] ?? field} ${message.replace(/\.$/, '')}` : message.replace(/\.$/, '');
}
