// Following one run without a WebSocket: its server-sent events, read from a fetch so that the token stays out of the
// URL; and where those can't be had, long polls.

import { pause, backoff } from '../signal.js';
import { runs } from './api.js';
import { problem } from './http.js';
import { Problem } from './problem.js';
import { session } from './session.js';

/** Longest wait of one long poll, in seconds. */
const POLL = 25;
/** How long a stream may say nothing, its comments included, in milliseconds. */
const SILENCE = 40_000;

const FINAL = new Set(['run.succeeded', 'run.failed', 'run.cancelled']);

/** Follows a run to its end or until aborted. `after()` is the number of the last event that was heard. */
export async function follow(runId, after, heard, signal) {
  let streams = true;
  for (let tries = 0; !signal.aborted; tries += 1) {
    try {
      if (streams && await stream(runId, after(), (event) => { tries = 0; heard(event); }, signal)) return;
      if (!streams && await poll(runId, heard, signal)) return;
    } catch (fault) {
      if (signal.aborted) return;
      if (fault.status === 401 || (fault.status === 404 && !streams)) return;
      // Whoever has heard the end may still lack what stands; and not every way lets a stream through.
      if ([204, 404, 405, 406, 415].includes(fault.status)) { streams = false; continue; }
    }
    await pause(backoff(tries), signal);
  }
}

/** Reads the stream; whether it came to the run's end. */
async function stream(runId, after, heard, signal) {
  const cut = new AbortController();
  const either = AbortSignal.any([signal, cut.signal]);
  let silence = setTimeout(() => cut.abort(), SILENCE);
  try {
    const headers = { Accept: 'text/event-stream', Authorization: `Bearer ${await session.token()}` };
    if (after) headers['Last-Event-ID'] = String(after);
    const response = await fetch(`/api/${session.user.id}/runs/${runId}/events`, { headers, signal: either, cache: 'no-store' });
    if (response.status === 204) throw new Problem(204);
    if (!response.ok) throw problem(response, await response.json().catch(() => null));
    if (!response.headers.get('Content-Type')?.startsWith('text/event-stream')) throw new Problem(406);
    let ended = false;
    let rest = '';
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return ended;
      clearTimeout(silence);
      silence = setTimeout(() => cut.abort(), SILENCE);
      const blocks = (rest + value).split(/\r?\n\r?\n/);
      rest = blocks.pop();
      for (const event of blocks.map(parse).filter(Boolean)) {
        ended ||= FINAL.has(event.type);
        heard(event);
      }
    }
  } finally {
    clearTimeout(silence);
  }
}

function parse(block) {
  const lines = block.split(/\r?\n/).filter((line) => line.startsWith('data:'));
  try {
    return lines.length > 0 ? JSON.parse(lines.map((line) => line.slice(5)).join('\n')) : null;
  } catch {
    return null;
  }
}

/** Asks for the run until it is final; tells what stands as an event without a number. */
async function poll(runId, heard, signal) {
  const response = await runs.look(runId, POLL, signal);
  heard({ type: 'looked', run_id: runId, conversation_id: response.conversation_id, data: { response } });
  return ['succeeded', 'failed', 'cancelled'].includes(response.status);
}
