// What the browser keeps between loads: texts and lists under names. A browser that keeps nothing costs no more than that.

const PREFIX = 'errand.';

/** Reads a JSON value, or gives `otherwise`. */
export function read(name, otherwise = null) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** Keeps a JSON value; null forgets it. */
export function keep(name, value) {
  try {
    if (value === null) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch { /* Full, or forbidden. */ }
}

/** Forgets all that was kept under names that begin so. */
export function forget(beginning) {
  try {
    const names = Object.keys(localStorage).filter((name) => name.startsWith(PREFIX + beginning));
    for (const name of names) localStorage.removeItem(name);
  } catch { /* Then there is nothing. */ }
}
