// Requests with the token of the session, of which one that was refused is replaced once; the routes below
// `/api/{user_id}`.

import { request } from './http.js';
import { session } from './session.js';

/** Sends a request with the session's token. */
export async function send(method, url, options = {}) {
  const token = await session.token();
  try {
    return await request(method, url, { ...options, token });
  } catch (fault) {
    if (fault.status !== 401) throw fault;
    return request(method, url, { ...options, token: await session.token(token) });
  }
}

/** Sends a request below the user's own path. */
export async function call(method, path, options = {}) {
  // Before the path is made, because without a token there is nobody yet.
  await session.token();
  return send(method, `/api/${session.user.id}${path}`, options);
}

const get = async (path, options) => (await call('GET', path, options)).body;

export const conversations = {
  page: (cursor) => get(`/conversations?limit=30${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`),
  read: (id) => get(`/conversations/${id}`),
  rename: async (id, title) => (await call('PATCH', `/conversations/${id}`, { body: { title } })).body,
  remove: (id) => call('DELETE', `/conversations/${id}`),
  messages: (id, before) => get(`/conversations/${id}/messages?limit=40${before ? `&before=${encodeURIComponent(before)}` : ''}`),
};

export const runs = {
  look: (id, wait = 0, signal) => get(`/runs/${id}?wait=${wait}`, { signal, patience: (wait + 20) * 1000 }),
  cancel: (id) => call('POST', `/runs/${id}/cancel`),
  retry: (id) => call('POST', `/runs/${id}/retry`),
  decide: (id, toolCallId, approve) => call('POST', `/runs/${id}/approvals/${encodeURIComponent(toolCallId)}`, { body: { approve } }),
};

export const tasks = {
  page: (cursor) => get(`/tasks?limit=100${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`),
  add: async (title) => (await call('POST', '/tasks', { body: { title } })).body,
  change: async (id, change) => (await call('PATCH', `/tasks/${id}`, { body: change })).body,
  remove: (id) => call('DELETE', `/tasks/${id}`),
};

/** Sends a message without waiting for its answer; sending it again under its key is safe. Gives the run. */
export async function chat({ key, text, conversationId }) {
  const headers = { 'Idempotency-Key': key, Prefer: 'respond-async' };
  const body = { message: text, conversation_id: conversationId };
  try {
    return (await call('POST', '/chat', { headers, body })).body;
  } catch (fault) {
    // The run of this key has already ended, without a reply: the message was taken, and that is what was asked.
    if ((fault.status === 502 || fault.status === 409) && fault.runId && fault.conversationId) {
      return { run_id: fault.runId, conversation_id: fault.conversationId };
    }
    throw fault;
  }
}
