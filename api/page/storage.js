// JSON values in localStorage. If the browser blocks storage or it is full, values last no longer than the page.

const PREFIX = 'errand.';

/** Returns the stored value, or `fallback` if there is no valid one. */
export function readItem(name, fallback = null) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name)) ?? fallback;
  } catch {
    return fallback;
  }
}

/** Stores a value; null removes it. */
export function writeItem(name, value) {
  try {
    if (value === null) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch { /* Storage is full or blocked. */ }
}

/** Removes every item whose name starts with `prefix`. */
export function removeItems(prefix) {
  try {
    const names = Object.keys(localStorage).filter((name) => name.startsWith(PREFIX + prefix));
    for (const name of names) localStorage.removeItem(name);
  } catch { /* Storage is blocked, so it is empty. */ }
}
