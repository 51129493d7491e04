// One WebSocket: frames in and out, and whose answer belongs to which chat. Knows nothing of trying again.

import { Problem } from './problem.js';

/** How long the handshake may take, and how long a chat may wait for its word, in milliseconds. */
const PATIENCE = 10_000;
/** How far apart signs of life are sent, in milliseconds: just under what proxies cut. */
const ALIVE = 25_000;

export class Socket {
  #socket;
  #asked = new Map();
  #alive = null;

  /** Opens; `heard` is given each run event, `ended` the close code, also when it never opened. */
  static open(userId, token, heard, ended) {
    return new Promise((resolve, reject) => {
      const socket = new Socket();
      const url = new URL(`/api/${userId}/ws`, location.href);
      url.protocol = url.protocol.replace('http', 'ws');
      const raw = new WebSocket(url, ['errand.v1', `bearer.${token}`]);
      const late = setTimeout(() => raw.close(), PATIENCE);
      socket.#socket = raw;
      raw.onopen = () => {
        clearTimeout(late);
        socket.#alive = setInterval(() => socket.#send({ type: 'ping' }), ALIVE);
        resolve(socket);
      };
      raw.onmessage = ({ data }) => socket.#hear(data, heard);
      raw.onclose = ({ code }) => {
        clearTimeout(late);
        clearInterval(socket.#alive);
        for (const { reject: fail } of socket.#asked.values()) fail(new Problem(0));
        socket.#asked.clear();
        reject(new Problem(0));
        ended(code);
      };
    });
  }

  /** Sends a message; gives the run and its conversation. */
  chat({ key, text, conversationId }) {
    return new Promise((resolve, reject) => {
      const settle = (then) => (word) => {
        clearTimeout(late);
        this.#asked.delete(key);
        then(word);
      };
      const late = setTimeout(() => this.#asked.get(key)?.reject(new Problem(0)), PATIENCE);
      this.#asked.set(key, { resolve: settle(resolve), reject: settle(reject) });
      const to = conversationId ? { conversation_id: conversationId } : {};
      this.#send({ type: 'chat', id: key, message: text, idempotency_key: key, ...to });
    });
  }

  /** Asks for the events of a run after the one of this number. */
  subscribe(runId, afterSeq) {
    this.#send({ type: 'subscribe', run_id: runId, ...(afterSeq ? { after_seq: afterSeq } : {}) });
  }

  close() {
    this.#socket.close(1000);
  }

  #send(frame) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
    else if (frame.type === 'chat') this.#asked.get(frame.id)?.reject(new Problem(0));
  }

  #hear(data, heard) {
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      return;
    }
    if (frame.type === 'accepted') this.#asked.get(frame.id)?.resolve(frame);
    else if (frame.type === 'error') this.#asked.get(frame.id)?.reject(Problem.ofBody(frame.problem));
    else if (frame.run_id && frame.data) heard(frame);
  }
}
