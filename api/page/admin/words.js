// Numbers, times and states as words.

import { now } from '../net/admin.js';

const whole = new Intl.NumberFormat('en');

/** A count. */
export const count = (number) => whole.format(number);

/** Some items of a kind. */
export const some = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** A number with as many digits as say something. */
export const number = (value) => (value >= 100 ? whole.format(Math.round(value)) : String(Number(value.toPrecision(3))));

/** A span of seconds, in its two largest units. */
export function span(seconds) {
  if (seconds < 0.001) return '0 s';
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (seconds < 600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60) % 60} s`;
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 48 * 60) return minutes % 60 === 0 ? `${minutes / 60} h` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.round(minutes / 1440)} days`;
}

/** Seconds from a time until now, or another. */
export const since = (time, until = now()) => Math.max(0, (until - Date.parse(time)) / 1000);

/** A time of the day, with its date unless that is today's. */
export function clock(time) {
  const at = new Date(time);
  const day = at.toDateString() === new Date().toDateString() ? '' : `${at.toLocaleDateString()} `;
  return `${day}${at.toLocaleTimeString()}`;
}

/** The end of an id, which is what differs. */
export const short = (id) => `…${id.slice(-8)}`;

/** States of runs, in the order of their lives; each has a colour of its name in the style sheet. */
export const STATES = {
  queued: 'Queued', running: 'Running', waiting_approval: 'Waiting for approval', succeeded: 'Succeeded', failed: 'Failed', cancelled: 'Cancelled',
};

/** Whether a run of this state can still change by itself. */
export const isOpen = (status) => status === 'queued' || status === 'running' || status === 'waiting_approval';
