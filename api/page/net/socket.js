// One WebSocket connection: sends frames and matches each chat request with its reply. Does not reconnect.

import { Problem } from './problem.js';

/** Timeout for the handshake and for the reply to a chat request, in milliseconds. */
const TIMEOUT = 10_000;
/** Interval between pings, in milliseconds: proxies close connections that are idle for longer. */
const PING_INTERVAL = 25_000;

export class Socket {
  #socket;
  #pending = new Map();
  #pings = null;

  /** Connects. `onEvent` receives run events; `onClose` receives the close code, even if the connection was never open. */
  static open(userId, token, onEvent, onClose) {
    return new Promise((resolve, reject) => {
      const socket = new Socket();
      const url = new URL(`/api/${userId}/ws`, location.href);
      url.protocol = url.protocol.replace('http', 'ws');
      const raw = new WebSocket(url, ['errand.v1', `bearer.${token}`]);
      const timer = setTimeout(() => raw.close(), TIMEOUT);
      socket.#socket = raw;
      raw.onopen = () => {
        clearTimeout(timer);
        socket.#pings = setInterval(() => socket.#send({ type: 'ping' }), PING_INTERVAL);
        resolve(socket);
      };
      raw.onmessage = ({ data }) => socket.#onMessage(data, onEvent);
      raw.onclose = ({ code }) => {
        clearTimeout(timer);
        clearInterval(socket.#pings);
        for (const request of socket.#pending.values()) request.reject(new Problem(0));
        socket.#pending.clear();
        reject(new Problem(0));
        onClose(code);
      };
    });
  }

  /** Sends a message. Returns its run and conversation. */
  sendMessage({ key, text, conversationId }) {
    return new Promise((resolve, reject) => {
      const settle = (callback) => (value) => {
        clearTimeout(timer);
        this.#pending.delete(key);
        callback(value);
      };
      const timer = setTimeout(() => this.#pending.get(key)?.reject(new Problem(0)), TIMEOUT);
      this.#pending.set(key, { resolve: settle(resolve), reject: settle(reject) });
      const target = conversationId ? { conversation_id: conversationId } : {};
      this.#send({ type: 'chat', id: key, message: text, idempotency_key: key, ...target });
    });
  }

  /** Subscribes to the events of a run that follow number `afterSeq`. */
  subscribe(runId, afterSeq) {
    this.#send({ type: 'subscribe', run_id: runId, ...(afterSeq ? { after_seq: afterSeq } : {}) });
  }

  close() {
    this.#socket.close(1000);
  }

  #send(frame) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
    else if (frame.type === 'chat') this.#pending.get(frame.id)?.reject(new Problem(0));
  }

  #onMessage(data, onEvent) {
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      return;
    }
    if (frame.type === 'accepted') this.#pending.get(frame.id)?.resolve(frame);
    else if (frame.type === 'error') this.#pending.get(frame.id)?.reject(Problem.fromBody(frame.problem));
    else if (frame.run_id && frame.data) onEvent(frame);
  }
}
