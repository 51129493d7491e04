// Charts, drawn. What a chart shows stands as text beside it, so each is one picture with a title and a description.

import { drawn } from '../dom.js';

let made = 0;

/** A drawing of so many units, stretched to the width that there is. */
function picture(kind, width, height, title, description, children) {
  made += 1;
  const [name, about] = [`chart-${made}-title`, `chart-${made}-about`];
  return drawn('svg', {
    class: `chart ${kind}`, viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', role: 'img',
    'aria-labelledby': name, 'aria-describedby': about,
  }, drawn('title', { id: name }, title), drawn('desc', { id: about }, description), children);
}

/** Shares of a whole, side by side: `parts` are `{name, label, value}`; the name is a class with a colour. */
export function shares(title, parts) {
  const all = parts.reduce((sum, { value }) => sum + value, 0);
  let at = 0;
  const bars = parts.filter(({ value }) => value > 0).map(({ name, label, value }) => {
    // The smallest share is to be seen, too.
    const width = Math.max(value / all * 100, 0.6);
    const bar = drawn('rect', { class: `fill-${name}`, x: at, y: 0, width, height: 10 }, drawn('title', {}, `${label}: ${value}`));
    at += width;
    return bar;
  });
  const description = all === 0 ? 'Nothing.' : parts.filter(({ value }) => value > 0).map(({ label, value }) => `${label}: ${value}`).join(', ');
  return picture('shares', Math.max(at, 100), 10, title, description, bars);
}

/** How full something is. */
export function meter(title, value, most) {
  const width = most > 0 ? Math.min(value / most, 1) * 100 : 0;
  return picture('meter', 100, 10, title, `${value} of ${most}`,
    [drawn('rect', { class: 'fill-ground', width: 100, height: 10 }), drawn('rect', { class: 'fill-accent', width, height: 10 })]);
}

/**
 * Lines over time. `points` are `{at, …}` with a member for each of `series`, which are `{name, label}`; `reach` is how
 * many milliseconds the chart is wide, up to the last point.
 */
export function lines(title, points, series, reach) {
  const end = points.at(-1)?.at ?? 0;
  const most = Math.max(1, ...points.flatMap((point) => series.map(({ name }) => point[name])));
  const x = (at) => (1000 - (end - at) / reach * 1000).toFixed(1);
  const y = (value) => (98 - value / most * 94).toFixed(1);
  const drawing = series.flatMap(({ name }) => {
    const path = points.map((point) => `${x(point.at)},${y(point[name])}`);
    if (path.length < 2) return [];
    const ground = `${x(points[0].at)},98 ${path.join(' ')} ${x(end)},98`;
    return [drawn('polygon', { class: `area fill-${name}`, points: ground }), drawn('polyline', { class: `line line-${name}`, points: path.join(' ') })];
  });
  const about = series.map(({ name, label }) => {
    const values = points.map((point) => point[name]);
    return `${label}: now ${values.at(-1) ?? 0}, at most ${Math.max(0, ...values)}, at least ${values.length ? Math.min(...values) : 0}`;
  });
  return picture('lines', 1000, 100, title, `${about.join('. ')}.`, drawing);
}

/** A bar from one time to another on a line that both are parts of; all in milliseconds. */
export function stretch(kind, title, { from, to, begin, end }) {
  const whole = Math.max(end - begin, 1);
  const at = Math.max(0, (from - begin) / whole * 100);
  // What took no time to speak of is to be seen, too.
  const width = Math.max(Math.min((to - begin) / whole * 100, 100) - at, 0.4);
  return picture('stretch', 100, 10, title, `From ${seconds(from - begin)} to ${seconds(to - begin)} after it was queued.`, [
    drawn('rect', { class: 'fill-ground', width: 100, height: 10 }),
    drawn('rect', { class: `fill-${kind}`, x: Math.min(at, 99.6), width, height: 10 }),
  ]);
}

const seconds = (milliseconds) => `${(milliseconds / 1000).toFixed(2)} s`;
