// Reading the same thing again and again: one request at a time, none while nobody looks, rarer while it fails.

import { Signal, backoff, pause } from '../signal.js';

export class Poll {
  /** Told the fault of the last try, or null. */
  troubled = new Signal();
  #work;
  #every;
  #end = new AbortController();
  #wake = new AbortController();

  /** `every` is in milliseconds, from one answer to the next question. */
  constructor(work, every) {
    this.#work = work;
    this.#every = every;
    const { signal } = this.#end;
    document.addEventListener('visibilitychange', () => { if (!document.hidden) this.soon(); }, { signal });
    this.#run();
  }

  /** Reads at once. */
  soon() {
    this.#wake.abort();
  }

  close() {
    this.#end.abort();
    this.#wake.abort();
  }

  async #run() {
    let failed = 0;
    while (!this.#end.signal.aborted) {
      this.#wake = new AbortController();
      const { signal } = this.#wake;
      const fault = document.hidden ? null : await this.#once();
      failed = fault ? failed + 1 : 0;
      if (signal.aborted || this.#end.signal.aborted) continue;
      await pause(failed > 0 ? Math.max(backoff(failed), this.#every) : this.#every, signal);
    }
  }

  async #once() {
    try {
      await this.#work();
      this.troubled.tell(null);
      return null;
    } catch (fault) {
      if (!this.#end.signal.aborted) this.troubled.tell(fault);
      return fault;
    }
  }
}
