// Follows one run without a WebSocket: by its server-sent events, or by long polling where they are not available.
// Events are read with `fetch` rather than `EventSource`, which would need the access token in the URL.

import { backoff, sleep } from '../async.js';
import { runs } from './api.js';
import { toProblem } from './http.js';
import { Problem } from './problem.js';
import { session } from './session.js';

/** How long one long poll waits, in seconds. */
const POLL_SECONDS = 25;
/** How long a stream may send nothing, not even a comment, in milliseconds. */
const STREAM_TIMEOUT = 40_000;

const FINAL_EVENTS = new Set(['run.succeeded', 'run.failed', 'run.cancelled']);
const FINAL_STATES = new Set(['succeeded', 'failed', 'cancelled']);
/** 204: no more events for this reader. 404, 405, 406 and 415: a proxy or server without event streams. */
const NO_STREAM = [204, 404, 405, 406, 415];

/** Follows a run until it is final or the signal is aborted. `lastSeq()` is the number of the last event received. */
export async function follow(runId, lastSeq, onEvent, signal) {
  let useStream = true;
  for (let attempt = 0; !signal.aborted; attempt += 1) {
    try {
      if (useStream && await stream(runId, lastSeq(), (event) => { attempt = 0; onEvent(event); }, signal)) return;
      if (!useStream && await poll(runId, onEvent, signal)) return;
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 401 || (error.status === 404 && !useStream)) return;
      // A poll also returns the final state if the stream has already ended.
      if (NO_STREAM.includes(error.status)) { useStream = false; continue; }
    }
    await sleep(backoff(attempt), signal);
  }
}

/** Reads the event stream. Returns whether it reached the end of the run. */
async function stream(runId, lastSeq, onEvent, signal) {
  const timeout = new AbortController();
  let timer = setTimeout(() => timeout.abort(), STREAM_TIMEOUT);
  try {
    const headers = { Accept: 'text/event-stream', Authorization: `Bearer ${await session.token()}` };
    if (lastSeq) headers['Last-Event-ID'] = String(lastSeq);
    const response = await fetch(`/api/${session.user.id}/runs/${runId}/events`, {
      headers, signal: AbortSignal.any([signal, timeout.signal]), cache: 'no-store',
    });
    if (response.status === 204) throw new Problem(204);
    if (!response.ok) throw toProblem(response, await response.json().catch(() => null));
    if (!response.headers.get('Content-Type')?.startsWith('text/event-stream')) throw new Problem(406);
    let isFinal = false;
    let rest = '';
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return isFinal;
      clearTimeout(timer);
      timer = setTimeout(() => timeout.abort(), STREAM_TIMEOUT);
      const blocks = (rest + value).split(/\r?\n\r?\n/);
      rest = blocks.pop();
      for (const event of blocks.map(parseEvent).filter(Boolean)) {
        isFinal ||= FINAL_EVENTS.has(event.type);
        onEvent(event);
      }
    }
  } finally {
    clearTimeout(timer);
  }
}

function parseEvent(block) {
  const lines = block.split(/\r?\n/).filter((line) => line.startsWith('data:'));
  try {
    return lines.length > 0 ? JSON.parse(lines.map((line) => line.slice(5)).join('\n')) : null;
  } catch {
    return null;
  }
}

/** Waits for the run and passes its state on as an unnumbered `run.snapshot` event. Returns whether it is final. */
async function poll(runId, onEvent, signal) {
  const run = await runs.get(runId, POLL_SECONDS, signal);
  onEvent({ type: 'run.snapshot', run_id: runId, conversation_id: run.conversation_id, data: { response: run } });
  return FINAL_STATES.has(run.status);
}
