// The admin routes, and the server's clock, by which ages are computed.

import { send } from './api.js';

/** How far the server's clock is ahead of this one, in milliseconds. */
let clockOffset = 0;

/** The server's time in milliseconds, accurate to about a second. */
export const now = () => Date.now() + clockOffset;

async function call(method, path) {
  const { body, headers } = await send(method, `/admin${path}`);
  const offset = Date.parse(headers.get('Date') ?? '') - Date.now();
  // The header has whole seconds, so a smaller difference is noise.
  if (Number.isFinite(offset)) clockOffset = Math.abs(offset) > 1500 ? offset : 0;
  return body;
}

const get = (path) => call('GET', path);
const post = (path) => call('POST', path);

export const admin = {
  overview: () => get('/overview'),
  capacity: () => get('/capacity'),
  runs: (query) => get(`/runs?${new URLSearchParams(query)}`),
  run: (id) => get(`/runs/${id}`),
  retry: (id) => post(`/runs/${id}/retry`),
  cancel: (id) => post(`/runs/${id}/cancel`),
  pause: () => post('/queue/pause'),
  resume: () => post('/queue/resume'),
  drain: (id) => post(`/workers/${id}/drain`),
  undrain: (id) => post(`/workers/${id}/undrain`),
};
