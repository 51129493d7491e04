// Repeats a request: one at a time, not while the page is hidden, and less often while it fails.

import { Emitter, backoff, sleep } from '../async.js';

export class Poller {
  /** Emits the error of the last request, or null if it succeeded. */
  errorChanged = new Emitter();
  #request;
  #interval;
  #closed = new AbortController();
  #wake = new AbortController();

  /** `interval` is the time from one response to the next request, in milliseconds. */
  constructor(request, interval) {
    this.#request = request;
    this.#interval = interval;
    const { signal } = this.#closed;
    document.addEventListener('visibilitychange', () => { if (!document.hidden) this.pollNow(); }, { signal });
    this.#run();
  }

  pollNow() {
    this.#wake.abort();
  }

  close() {
    this.#closed.abort();
    this.#wake.abort();
  }

  async #run() {
    let failures = 0;
    while (!this.#closed.signal.aborted) {
      this.#wake = new AbortController();
      const { signal } = this.#wake;
      const error = document.hidden ? null : await this.#poll();
      failures = error ? failures + 1 : 0;
      if (signal.aborted || this.#closed.signal.aborted) continue;
      await sleep(failures > 0 ? Math.max(backoff(failures), this.#interval) : this.#interval, signal);
    }
  }

  /** Returns the error, or null. */
  async #poll() {
    try {
      await this.#request();
      this.errorChanged.emit(null);
      return null;
    } catch (error) {
      if (!this.#closed.signal.aborted) this.errorChanged.emit(error);
      return error;
    }
  }
}
