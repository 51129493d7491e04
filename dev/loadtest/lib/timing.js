// Parses the Server-Timing header, which says how long each part of a chat took.

/** Returns durations in milliseconds by name; an empty object without the header. */
export function parseServerTiming(header) {
  const durations = {};
  for (const entry of (header || '').split(',')) {
    const [name, ...parameters] = entry.split(';').map((part) => part.trim());
    const duration = parameters.map((parameter) => /^dur=([0-9.]+)$/.exec(parameter)).find(Boolean);
    if (name && duration) durations[name] = Number(duration[1]);
  }
  return durations;
}
