// The header Server-Timing: how long each part of a chat took.

/** The parts by name in milliseconds; none if there is no such header. */
export function parts(header) {
  const found = {};
  for (const entry of (header || '').split(',')) {
    const [name, ...parameters] = entry.split(';').map((part) => part.trim());
    const dur = parameters.map((one) => /^dur=([0-9.]+)$/.exec(one)).find(Boolean);
    if (name && dur) found[name] = Number(dur[1]);
  }
  return found;
}
