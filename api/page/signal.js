// Who wants to know is told: a list of listeners.

export class Signal {
  #listeners = new Set();

  /** Adds a listener and gives what takes it away again. */
  on(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  tell(...news) {
    for (const listener of [...this.#listeners]) listener(...news);
  }
}

/** A function that runs `work` once, `after` milliseconds from the first of many calls. */
export function gathered(work, after) {
  let timer = null;
  return () => {
    timer ??= setTimeout(() => { timer = null; work(); }, after);
  };
}

/** A wait that doubles with each try, in milliseconds, with jitter. */
export const backoff = (tries, longest = 15_000) => Math.min(longest, 400 * 2 ** tries) * (0.7 + 0.6 * Math.random());

/** Resolves after so many milliseconds, or as soon as the signal is aborted. */
export function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener('abort', () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}
