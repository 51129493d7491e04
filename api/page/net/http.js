// Requests as JSON, with a bound on how long they may take. Knows nothing of tokens.

import { Problem } from './problem.js';

const PATIENCE = 20_000;

/** Sends a request; gives `{status, body, headers}`, or throws a `Problem`. */
export async function request(method, path, { body, token, headers = {}, signal, patience = PATIENCE, keepalive } = {}) {
  const until = AbortSignal.timeout(patience);
  const all = { Accept: 'application/json', ...headers };
  if (token) all.Authorization = `Bearer ${token}`;
  if (body !== undefined) all['Content-Type'] = 'application/json';
  try {
    const response = await fetch(path, {
      method,
      headers: all,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, until]) : until,
      cache: 'no-store',
      keepalive,
    });
    const text = await response.text();
    const answered = parse(text);
    if (response.ok) return { status: response.status, body: answered, headers: response.headers };
    throw problem(response, answered);
  } catch (fault) {
    if (fault instanceof Problem || signal?.aborted) throw fault;
    throw new Problem(0);
  }
}

/** The problem that an answer is. */
export function problem(response, body) {
  const after = Number(response.headers.get('Retry-After'));
  return new Problem(response.status, body ?? {}, Number.isFinite(after) && after > 0 ? after : null);
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
