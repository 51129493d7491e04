// The routes below `/api/{user_id}`. A request whose access token is rejected is sent once more with a new one.

import { request } from './http.js';
import { session } from './session.js';

/** Sends a request with the session's access token. */
export async function send(method, url, options = {}) {
  const token = await session.token();
  try {
    return await request(method, url, { ...options, token });
  } catch (error) {
    if (error.status !== 401) throw error;
    return request(method, url, { ...options, token: await session.token(token) });
  }
}

/** Sends a request below the user's own path. */
export async function call(method, path, options = {}) {
  // The user's id is only known once there is a token.
  await session.token();
  return send(method, `/api/${session.user.id}${path}`, options);
}

const get = async (path, options) => (await call('GET', path, options)).body;

export const conversations = {
  page: (cursor) => get(`/conversations?limit=30${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`),
  rename: async (id, title) => (await call('PATCH', `/conversations/${id}`, { body: { title } })).body,
  delete: (id) => call('DELETE', `/conversations/${id}`),
  messages: (id, before) => get(`/conversations/${id}/messages?limit=40${before ? `&before=${encodeURIComponent(before)}` : ''}`),
};

export const runs = {
  /** Waits up to `wait` seconds for the run to finish. */
  get: (id, wait = 0, signal) => get(`/runs/${id}?wait=${wait}`, { signal, timeout: (wait + 20) * 1000 }),
  cancel: (id) => call('POST', `/runs/${id}/cancel`),
  retry: (id) => call('POST', `/runs/${id}/retry`),
  decide: (id, toolCallId, approve) => call('POST', `/runs/${id}/approvals/${encodeURIComponent(toolCallId)}`, { body: { approve } }),
};

export const tasks = {
  page: (cursor) => get(`/tasks?limit=100${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`),
  add: async (title) => (await call('POST', '/tasks', { body: { title } })).body,
  update: async (id, change) => (await call('PATCH', `/tasks/${id}`, { body: change })).body,
  delete: (id) => call('DELETE', `/tasks/${id}`),
};

/** Sends a message without waiting for its answer and returns the run. Safe to repeat with the same key. */
export async function sendMessage({ key, text, conversationId }) {
  const headers = { 'Idempotency-Key': key, Prefer: 'respond-async' };
  const body = { message: text, conversation_id: conversationId };
  try {
    return (await call('POST', '/chat', { headers, body })).body;
  } catch (error) {
    // The run of this key has already finished without a reply. The message was accepted, and no more was asked for.
    if ((error.status === 502 || error.status === 409) && error.runId && error.conversationId) {
      return { run_id: error.runId, conversation_id: error.conversationId };
    }
    throw error;
  }
}
