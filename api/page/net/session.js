// The signed-in user and the access token. The access token exists only in this page's memory; the refresh token is an
// HttpOnly cookie. A refresh token can be used once, and using it again ends the session, so only one tab refreshes at a
// time and shares the new token with the others.

import { Emitter, sleep } from '../async.js';
import { readItem, writeItem } from '../storage.js';
import { request } from './http.js';
import { Problem } from './problem.js';

const LOCK = 'errand.refresh';
const REFRESH_STARTED = 'refreshing';
/** How long a refresh that an unloaded page started may take to set its cookie, in milliseconds. */
const REFRESH_GRACE = 1_500;
/** The share of its lifetime after which a token is replaced. */
const USABLE_LIFETIME = 0.9;

class Session {
  /** `{id, email, name}`, or null. */
  user = null;
  /**
   * Emits `(reason, isExpired)` when the user signs in or out, here or in another tab. `reason` is a sentence or null.
   * After an expired session the same user is likely to return.
   */
  changed = new Emitter();
  #token = null;
  #expiresAt = 0;
  #tabs = 'BroadcastChannel' in globalThis ? new BroadcastChannel('errand.session') : null;

  constructor() {
    this.#tabs?.addEventListener('message', ({ data }) => {
      if (data.type === 'signed-out' && this.user) this.#end(null);
      if (data.type !== 'signed-in') return;
      if (!this.user || this.user.id === data.session.user.id) this.#set(data.session);
      else this.#end('Another user has signed in in another tab.');
    });
  }

  /** Returns a valid access token; `rejected` is one that the server refused. Throws a 401 if the session is over. */
  async token(rejected = null) {
    const isValid = () => this.#token !== null && this.#token !== rejected && Date.now() < this.#expiresAt;
    if (isValid()) return this.#token;
    await this.#exclusively(async () => {
      // Another tab may have refreshed it while this one waited for the lock.
      if (!isValid()) await this.#refresh();
    });
    return this.#token;
  }

  /** Resumes the session of an earlier visit. Returns whether there is one. */
  async resume() {
    try {
      await this.token();
      return true;
    } catch (error) {
      if (error instanceof Problem && error.status !== 401 && error.status !== 403 && error.status !== 404) throw error;
      return false;
    }
  }

  /** Signs in or registers: both routes return a session. */
  async signIn(path, body) {
    await this.#exclusively(async () => this.#share(await request('POST', path, { body })));
  }

  async signOut() {
    await this.#exclusively(async () => {
      // Wait for the server: until it has revoked the cookie, the next person to load the page would be signed in.
      await request('POST', '/auth/logout', { body: {} });
      this.#tabs?.postMessage({ type: 'signed-out' });
      this.#end(null);
    });
  }

  async #refresh() {
    const remaining = readItem(REFRESH_STARTED, 0) + REFRESH_GRACE - Date.now();
    if (remaining > 0 && remaining <= REFRESH_GRACE) await sleep(remaining);
    writeItem(REFRESH_STARTED, Date.now());
    try {
      // Kept alive so that the new cookie arrives even if this page is unloaded first.
      this.#share(await request('POST', '/auth/refresh', { body: {}, keepalive: true }));
    } catch (error) {
      if (error.status === 401 && this.user) this.#end('Your session has expired. Sign in to continue. What you typed has been kept.', true);
      throw error;
    } finally {
      writeItem(REFRESH_STARTED, null);
    }
  }

  #share({ body }) {
    const { user, access_token, expires_in } = body;
    const session = { user, token: access_token, expiresAt: Date.now() + expires_in * 1000 * USABLE_LIFETIME };
    this.#set(session);
    this.#tabs?.postMessage({ type: 'signed-in', session });
  }

  #set({ user, token, expiresAt }) {
    const isSameUser = this.user?.id === user.id;
    this.user = user;
    this.#token = token;
    this.#expiresAt = expiresAt;
    if (!isSameUser) this.changed.emit(null, false);
  }

  #end(reason, isExpired = false) {
    this.user = null;
    this.#token = null;
    this.changed.emit(reason, isExpired);
  }

  #exclusively(work) {
    if (navigator.locks) return navigator.locks.request(LOCK, work);
    // Plain HTTP on another host has no Web Locks, so this only serializes the calls of this tab.
    this.#queue = this.#queue.then(work, work);
    return this.#queue;
  }

  #queue = Promise.resolve();
}

export const session = new Session();
