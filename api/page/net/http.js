// JSON requests with a timeout. Errors are thrown as `Problem`.

import { Problem } from './problem.js';

/** Milliseconds. */
const DEFAULT_TIMEOUT = 20_000;

/** Sends a request. Returns `{status, body, headers}` or throws a `Problem`. */
export async function request(method, path, { body, token, headers = {}, signal, timeout = DEFAULT_TIMEOUT, keepalive } = {}) {
  const timedOut = AbortSignal.timeout(timeout);
  const allHeaders = { Accept: 'application/json', ...headers };
  if (token) allHeaders.Authorization = `Bearer ${token}`;
  if (body !== undefined) allHeaders['Content-Type'] = 'application/json';
  try {
    const response = await fetch(path, {
      method,
      headers: allHeaders,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, timedOut]) : timedOut,
      cache: 'no-store',
      keepalive,
    });
    const parsed = parse(await response.text());
    if (response.ok) return { status: response.status, body: parsed, headers: response.headers };
    throw toProblem(response, parsed);
  } catch (error) {
    if (error instanceof Problem || signal?.aborted) throw error;
    throw new Problem(0);
  }
}

/** The problem that an error response describes. */
export function toProblem(response, body) {
  const seconds = Number(response.headers.get('Retry-After'));
  return new Problem(response.status, body ?? {}, Number.isFinite(seconds) && seconds > 0 ? seconds : null);
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
