// The routes below `/admin`, for a token whose role is admin; and the server's clock, by which ages are told.

import { send } from './api.js';

/** How far the server's clock is ahead of this one, in milliseconds. */
let ahead = 0;

/** The server's time in milliseconds, to about a second. */
export const now = () => Date.now() + ahead;

async function call(method, path) {
  const { body, headers } = await send(method, `/admin${path}`);
  const off = Date.parse(headers.get('Date') ?? '') - Date.now();
  // The header has whole seconds; less than that is not told from none.
  if (Number.isFinite(off)) ahead = Math.abs(off) > 1500 ? off : 0;
  return body;
}

const get = (path) => call('GET', path);
const post = (path) => call('POST', path);

export const admin = {
  overview: () => get('/overview'),
  capacity: () => get('/capacity'),
  runs: (which) => get(`/runs?${new URLSearchParams(which)}`),
  run: (id) => get(`/runs/${id}`),
  retry: (id) => post(`/runs/${id}/retry`),
  cancel: (id) => post(`/runs/${id}/cancel`),
  pause: () => post('/queue/pause'),
  resume: () => post('/queue/resume'),
  drain: (id) => post(`/workers/${id}/drain`),
  undrain: (id) => post(`/workers/${id}/undrain`),
};
