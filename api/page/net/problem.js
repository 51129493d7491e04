// Why a request was not answered as asked, in a sentence for the person at the page.

export class Problem extends Error {
  /** `status` 0: there was no answer at all. `retryAfter` is in seconds. */
  constructor(status, body = {}, retryAfter = null) {
    super(body.detail ?? body.title ?? '');
    this.status = status;
    this.detail = body.detail ?? '';
    this.fields = body.errors ?? [];
    this.runId = body.run_id ?? null;
    this.conversationId = body.conversation_id ?? null;
    this.retryAfter = retryAfter;
  }

  static ofBody(body) {
    const status = typeof body?.status === 'number' ? body.status : 500;
    const after = Number(body?.retry_after);
    return new Problem(status, body, Number.isFinite(after) && after > 0 ? after : null);
  }

  /** Whether what was asked may or may not have been done, or was put off: asking again is right. */
  get passes() {
    return this.status === 0 || this.status === 408 || this.status === 429 || (this.status >= 500 && this.status !== 501);
  }

  get sentence() {
    const told = this.detail.replace(/\s*[.:]?\s*$/, '');
    switch (this.status) {
      case 0: return 'The server can’t be reached.';
      case 400: return `The server did not understand the request: ${told || 'bad request'}.`;
      case 401: return told ? `${told}.` : 'You are no longer logged in.';
      case 403: return told ? `Not allowed: ${told}.` : 'You are not allowed to do that.';
      case 404: return told ? `${told}.` : 'It is no longer there.';
      case 408: return 'The request took too long to arrive.';
      case 409: return told ? `${told}.` : 'That does not go together with what is there.';
      case 413: return 'That is too long for the server.';
      case 415: return 'The server did not take this kind of request.';
      case 422: return this.fields.length > 0 ? `${this.fields.map(told_of).join('; ')}.` : `${told || 'Something is not valid'}.`;
      case 429: return `${told || 'That was too much at once'}. Try again ${this.when}.`;
      case 502: return told ? `${told}.` : 'The model could not answer.';
      case 503: return `${told || 'The server is busy'}. Trying again ${this.when} may help.`;
      default: return told ? `${told}.` : `The server answered ${this.status}.`;
    }
  }

  get when() {
    if (this.retryAfter === null) return 'in a moment';
    return this.retryAfter === 1 ? 'in a second' : `in ${this.retryAfter} seconds`;
  }
}

const NAMES = { email: 'E-mail', password: 'Password', name: 'Name', message: 'The message', title: 'The title', description: 'The note' };

function told_of({ field, message }) {
  return field ? `${NAMES[field] ?? field} ${message.replace(/\.$/, '')}` : message.replace(/\.$/, '');
}
