// Who is logged in. The access token lives in this page's memory only; the refresh token is a cookie that no script
// sees. A refresh token is good once, and a second use ends the login: so one tab refreshes at a time, and tells the
// others.

import { Signal, pause } from '../signal.js';
import { keep, read } from '../keep.js';
import { Problem } from './problem.js';
import { request } from './http.js';

const LOCK = 'errand.refresh';
const PENDING = 'refreshing';
/** How long a refresh of a page that was left in its middle is given to reach the cookie, in milliseconds. */
const SETTLE = 1_500;
/** The part of its life after which a token is replaced. */
const USED = 0.9;

class Session {
  /** `{id, email, name}`, or null. */
  user = null;
  /** Told when somebody logs in or out, here or in another tab; `why` is a sentence, or null. */
  changed = new Signal();
  #token = null;
  #expires = 0;
  #others = 'BroadcastChannel' in globalThis ? new BroadcastChannel('errand.session') : null;

  constructor() {
    this.#others?.addEventListener('message', ({ data }) => {
      if (data.type === 'out' && this.user) this.#end(null);
      if (data.type !== 'in') return;
      if (!this.user || this.user.id === data.session.user.id) this.#take(data.session);
      else this.#end('Somebody else has logged in, in another tab.');
    });
  }

  /** A token that counts for a while yet; `stale` is one that was refused. Throws a 401 if there is none to be had. */
  async token(stale = null) {
    const good = () => this.#token !== null && this.#token !== stale && Date.now() < this.#expires;
    if (good()) return this.#token;
    await this.#alone(async () => {
      // Another tab may have done it meanwhile.
      if (!good()) await this.#refresh();
    });
    return this.#token;
  }

  /** Whether the cookie of an earlier visit still counts. */
  async resume() {
    try {
      await this.token();
      return true;
    } catch (fault) {
      if (fault instanceof Problem && fault.status !== 401 && fault.status !== 403 && fault.status !== 404) throw fault;
      return false;
    }
  }

  async enter(path, body) {
    await this.#alone(async () => this.#give(await request('POST', path, { body })));
  }

  async leave() {
    await this.#alone(async () => {
      // Not before the server has said so: the cookie would let the next one in who loads the page.
      await request('POST', '/auth/logout', { body: {} });
      this.#others?.postMessage({ type: 'out' });
      this.#end(null);
    });
  }

  async #refresh() {
    const left = read(PENDING, 0) + SETTLE - Date.now();
    if (left > 0 && left <= SETTLE) await pause(left);
    keep(PENDING, Date.now());
    try {
      // Kept alive, so that the next cookie arrives even if this page is left meanwhile.
      this.#give(await request('POST', '/auth/refresh', { body: {}, keepalive: true }));
    } catch (fault) {
      if (fault.status === 401 && this.user) this.#end('Your login has ended. Log in to go on; what you typed is kept.');
      throw fault;
    } finally {
      keep(PENDING, null);
    }
  }

  #give({ body }) {
    const { user, access_token, expires_in } = body;
    const session = { user, token: access_token, expires: Date.now() + expires_in * 1000 * USED };
    this.#take(session);
    this.#others?.postMessage({ type: 'in', session });
  }

  #take({ user, token, expires }) {
    const known = this.user?.id === user.id;
    this.user = user;
    this.#token = token;
    this.#expires = expires;
    if (!known) this.changed.tell(null);
  }

  #end(why) {
    this.user = null;
    this.#token = null;
    this.changed.tell(why);
  }

  #alone(work) {
    if (navigator.locks) return navigator.locks.request(LOCK, work);
    // Without locks (a page over plain http on another host) the tabs of one page at least take turns with themselves.
    this.#last = this.#last.then(work, work);
    return this.#last;
  }

  #last = Promise.resolve();
}

export const session = new Session();
