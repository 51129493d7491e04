// The end of a load test, as a text for the terminal and a page for the file. Nothing is loaded from elsewhere.

/** Makes k6's `handleSummary` for a script of this name. */
export const summary = (name) => (data) => {
  const folder = __ENV.OUT || '.';
  return {
    stdout: asText(name, data),
    [`${folder}/${name}.txt`]: asText(name, data),
    [`${folder}/${name}.html`]: asPage(name, data),
    [`${folder}/${name}.json`]: JSON.stringify(data, null, 1),
  };
};

const OURS = /^(chats|chat_|overhead|part_|accepted|socket|runs|drift|http_reqs|http_req_failed|iterations|dropped_iterations|vus_max|ws_)/;

/** `{name, kind, values, held}` of the metrics that say something, ours first. */
function rows({ metrics }) {
  return Object.entries(metrics).filter(([name]) => OURS.test(name)).map(([name, metric]) => ({
    name,
    values: worded(metric),
    held: Object.entries(metric.thresholds || {}).map(([rule, { ok }]) => ({ rule, ok })),
  })).sort((a, b) => b.held.length - a.held.length || a.name.localeCompare(b.name));
}

function worded({ type, contains, values }) {
  const unit = contains === 'time' ? ' ms' : '';
  const of = (value) => `${Number(value).toFixed(unit && value < 100 ? 1 : 0)}${unit}`;
  switch (type) {
    case 'counter': return `${of(values.count)}, ${values.rate.toFixed(1)} a second`;
    case 'rate': return `${(values.rate * 100).toFixed(3)} % (${values.passes} of ${values.passes + values.fails})`;
    case 'gauge': return of(values.value);
    default: return `median ${of(values.med)}, p95 ${of(values['p(95)'])}, p99 ${of(values['p(99)'])}, most ${of(values.max)}`;
  }
}

const fell = (data) => rows(data).flatMap(({ name, held }) => held.filter(({ ok }) => !ok).map(({ rule }) => `${name}: ${rule}`));
const seconds = ({ state }) => `${(state.testRunDurationMs / 1000).toFixed(0)} s`;

function asText(name, data) {
  const lines = rows(data).map((row) => `  ${row.name.padEnd(22)} ${row.values}${row.held.map(({ rule, ok }) => `\n  ${' '.repeat(22)} ${ok ? 'held' : 'NOT HELD'}: ${rule}`).join('')}`);
  const bad = fell(data);
  const end = bad.length === 0 ? 'All thresholds held.' : `${bad.length} thresholds did not hold: ${bad.join('; ')}`;
  return `\n${name}, ${seconds(data)}\n\n${lines.join('\n')}\n\n${end}\n\n`;
}

const ESCAPED = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escaped = (text) => String(text).replace(/[&<>"]/g, (one) => ESCAPED[one]);

function asPage(name, data) {
  const body = rows(data).map((row) => `<tr><th scope="row">${escaped(row.name)}</th><td>${escaped(row.values)}</td><td>${
    row.held.map(({ rule, ok }) => `<span class="${ok ? 'ok' : 'bad'}">${ok ? 'held' : 'not held'}: ${escaped(rule)}</span>`).join('<br>')}</td></tr>`).join('\n');
  const bad = fell(data).length;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${escaped(name)} – Errand under load</title>
<style>
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; } th, td { padding: .4rem .8rem .4rem 0; border-bottom: 1px solid #8886; text-align: left; vertical-align: top; }
.ok { color: light-dark(#17663f, #7fd3a6); } .bad { color: light-dark(#a3312a, #f19a90); font-weight: 600; }
</style></head><body>
<h1>${escaped(name)}</h1>
<p>${escaped(seconds(data))}, ended ${escaped(new Date().toISOString())}. <strong class="${bad ? 'bad' : 'ok'}">${bad ? `${bad} thresholds did not hold.` : 'All thresholds held.'}</strong></p>
<table><thead><tr><th scope="col">What</th><th scope="col">Measured</th><th scope="col">Thresholds</th></tr></thead><tbody>
${body}
</tbody></table>
</body></html>
`;
}
