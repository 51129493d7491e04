// SVG charts. The page shows the same data as text, so each chart is one image with a title and a description.

import { svg } from '../dom.js';

let charts = 0;

/** A chart in units of its own, stretched to the available width. */
function chart(kind, width, height, title, description, children) {
  charts += 1;
  const [titleId, descriptionId] = [`chart-${charts}-title`, `chart-${charts}-description`];
  return svg('svg', {
    class: `chart ${kind}`, viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', role: 'img',
    'aria-labelledby': titleId, 'aria-describedby': descriptionId,
  }, svg('title', { id: titleId }, title), svg('desc', { id: descriptionId }, description), children);
}

/** One bar divided into parts: `{name, label, value}`. A part's name selects its colour. */
export function stackedBar(title, parts) {
  const total = parts.reduce((sum, { value }) => sum + value, 0);
  const visible = parts.filter(({ value }) => value > 0);
  let x = 0;
  const bars = visible.map(({ name, label, value }) => {
    // Even the smallest part must be visible.
    const width = Math.max(value / total * 100, 0.6);
    const bar = svg('rect', { class: `fill-${name}`, x, y: 0, width, height: 10 }, svg('title', {}, `${label}: ${value}`));
    x += width;
    return bar;
  });
  const description = total === 0 ? 'No data.' : visible.map(({ label, value }) => `${label}: ${value}`).join(', ');
  return chart('stacked', Math.max(x, 100), 10, title, description, bars);
}

/** A bar that shows how much of `max` is used. */
export function meter(title, value, max) {
  const width = max > 0 ? Math.min(value / max, 1) * 100 : 0;
  return chart('meter', 100, 10, title, `${value} of ${max}`,
    [svg('rect', { class: 'fill-background', width: 100, height: 10 }), svg('rect', { class: 'fill-accent', width, height: 10 })]);
}

/**
 * Lines over time. A point is `{at, …}` with one member per series, and a series is `{name, label}`. The chart spans
 * `range` milliseconds up to the last point.
 */
export function lineChart(title, points, series, range) {
  const end = points.at(-1)?.at ?? 0;
  const max = Math.max(1, ...points.flatMap((point) => series.map(({ name }) => point[name])));
  const x = (at) => (1000 - (end - at) / range * 1000).toFixed(1);
  const y = (value) => (98 - value / max * 94).toFixed(1);
  const shapes = series.flatMap(({ name }) => {
    const path = points.map((point) => `${x(point.at)},${y(point[name])}`);
    if (path.length < 2) return [];
    const area = `${x(points[0].at)},98 ${path.join(' ')} ${x(end)},98`;
    return [svg('polygon', { class: `area fill-${name}`, points: area }), svg('polyline', { class: `line line-${name}`, points: path.join(' ') })];
  });
  const descriptions = series.map(({ name, label }) => {
    const values = points.map((point) => point[name]);
    return `${label}: now ${values.at(-1) ?? 0}, maximum ${Math.max(0, ...values)}, minimum ${values.length ? Math.min(...values) : 0}`;
  });
  return chart('lines', 1000, 100, title, `${descriptions.join('. ')}.`, shapes);
}

/** A bar from `from` to `to` on a time line from `begin` to `end`, all in milliseconds. */
export function timeBar(kind, title, { from, to, begin, end }) {
  const total = Math.max(end - begin, 1);
  const x = Math.max(0, (from - begin) / total * 100);
  // Even the shortest bar must be visible.
  const width = Math.max(Math.min((to - begin) / total * 100, 100) - x, 0.4);
  return chart('time-bar', 100, 10, title, `From ${seconds(from - begin)} to ${seconds(to - begin)} after it was queued.`, [
    svg('rect', { class: 'fill-background', width: 100, height: 10 }),
    svg('rect', { class: `fill-${kind}`, x: Math.min(x, 99.6), width, height: 10 }),
  ]);
}

const seconds = (milliseconds) => `${(milliseconds / 1000).toFixed(2)} s`;
