// Building blocks for asynchronous code: an event emitter, coalesced calls, retry delays and an abortable sleep.

export class Emitter {
  #listeners = new Set();

  /** Adds a listener. Returns a function that removes it. */
  on(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  emit(...values) {
    for (const listener of [...this.#listeners]) listener(...values);
  }
}

/** Returns a function that runs `work` once, `delay` milliseconds after the first of several calls. */
export function coalesce(work, delay) {
  let timer = null;
  return () => {
    timer ??= setTimeout(() => { timer = null; work(); }, delay);
  };
}

/** The delay before the next attempt, in milliseconds: exponential, with jitter. */
export const backoff = (attempt, max = 15_000) => Math.min(max, 400 * 2 ** attempt) * (0.7 + 0.6 * Math.random());

/** Resolves after this many milliseconds, or as soon as the signal is aborted. */
export function sleep(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener('abort', () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}
