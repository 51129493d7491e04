// Formats numbers, durations, times and states for display.

import { now } from '../net/admin.js';

const INTEGER = new Intl.NumberFormat('en');

export const formatCount = (count) => INTEGER.format(count);

/** A count with its noun: “1 run”, “2 runs”. */
export const plural = (count, one, many = `${one}s`) => `${formatCount(count)} ${count === 1 ? one : many}`;

/** A number with three significant digits. */
export const formatNumber = (value) => (value >= 100 ? INTEGER.format(Math.round(value)) : String(Number(value.toPrecision(3))));

/** A duration in seconds, in its one or two largest units. */
export function formatDuration(seconds) {
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

/** Seconds from a time until `end`, which is in milliseconds. */
export const secondsSince = (time, end = now()) => Math.max(0, (end - Date.parse(time)) / 1000);

/** The time of day, with the date unless it is today. */
export function formatTime(time) {
  const date = new Date(time);
  const day = date.toDateString() === new Date().toDateString() ? '' : `${date.toLocaleDateString()} `;
  return `${day}${date.toLocaleTimeString()}`;
}

/** The end of an id, which is the part that differs between ids of the same time. */
export const shortId = (id) => `…${id.slice(-8)}`;

/** Labels of the states of a run, in the order a run passes through them. The style sheet has a colour for each name. */
export const STATES = {
  queued: 'Queued', running: 'Running', waiting_approval: 'Waiting for approval', succeeded: 'Succeeded', failed: 'Failed', cancelled: 'Cancelled',
};

/** Whether a run of this state is not finished. */
export const isOpen = (status) => status === 'queued' || status === 'running' || status === 'waiting_approval';
