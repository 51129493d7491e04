// The report of a load test: a text for the terminal, an HTML page without external resources, and JSON.

/** Creates k6's `handleSummary` function for a script. */
export const summary = (name) => (data) => {
  const folder = __ENV.OUT || '.';
  return {
    stdout: asText(name, data),
    [`${folder}/${name}.txt`]: asText(name, data),
    [`${folder}/${name}.html`]: asPage(name, data),
    [`${folder}/${name}.json`]: JSON.stringify(data, null, 1),
  };
};

const SHOWN = /^(chats|chat_|overhead|part_|accepted|socket|runs|drift|http_reqs|http_req_failed|iterations|dropped_iterations|vus_max|ws_)/;

/** The metrics to show, as `{name, values, thresholds}`. Those with thresholds come first. */
function rows({ metrics }) {
  return Object.entries(metrics).filter(([name]) => SHOWN.test(name)).map(([name, metric]) => ({
    name,
    values: formatValues(metric),
    thresholds: Object.entries(metric.thresholds || {}).map(([rule, { ok }]) => ({ rule, ok })),
  })).sort((a, b) => b.thresholds.length - a.thresholds.length || a.name.localeCompare(b.name));
}

function formatValues({ type, contains, values }) {
  const unit = contains === 'time' ? ' ms' : '';
  const format = (value) => `${Number(value).toFixed(unit && value < 100 ? 1 : 0)}${unit}`;
  switch (type) {
    case 'counter': return `${format(values.count)}, ${values.rate.toFixed(1)} per second`;
    case 'rate': return `${(values.rate * 100).toFixed(3)} % (${values.passes} of ${values.passes + values.fails})`;
    case 'gauge': return format(values.value);
    default: return `median ${format(values.med)}, p95 ${format(values['p(95)'])}, p99 ${format(values['p(99)'])}, max ${format(values.max)}`;
  }
}

const failedThresholds = (data) => rows(data).flatMap(({ name, thresholds }) => thresholds.filter(({ ok }) => !ok).map(({ rule }) => `${name}: ${rule}`));
const duration = ({ state }) => `${(state.testRunDurationMs / 1000).toFixed(0)} s`;

function asText(name, data) {
  const lines = rows(data).map((row) => `  ${row.name.padEnd(22)} ${row.values}${row.thresholds.map(({ rule, ok }) => `\n  ${' '.repeat(22)} ${ok ? 'passed' : 'FAILED'}: ${rule}`).join('')}`);
  const failed = failedThresholds(data);
  const verdict = failed.length === 0 ? 'All thresholds passed.' : `${failed.length} thresholds failed: ${failed.join('; ')}`;
  return `\n${name}, ${duration(data)}\n\n${lines.join('\n')}\n\n${verdict}\n\n`;
}

const ENTITIES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escape = (text) => String(text).replace(/[&<>"]/g, (character) => ENTITIES[character]);

function asPage(name, data) {
  const body = rows(data).map((row) => `<tr><th scope="row">${escape(row.name)}</th><td>${escape(row.values)}</td><td>${
    row.thresholds.map(({ rule, ok }) => `<span class="${ok ? 'ok' : 'bad'}">${ok ? 'passed' : 'failed'}: ${escape(rule)}</span>`).join('<br>')}</td></tr>`).join('\n');
  const failed = failedThresholds(data).length;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${escape(name)} – Errand load test</title>
<style>
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; } th, td { padding: .4rem .8rem .4rem 0; border-bottom: 1px solid #8886; text-align: left; vertical-align: top; }
.ok { color: light-dark(#17663f, #7fd3a6); } .bad { color: light-dark(#a3312a, #f19a90); font-weight: 600; }
</style></head><body>
<h1>${escape(name)}</h1>
<p>${escape(duration(data))}, finished at ${escape(new Date().toISOString())}. <strong class="${failed ? 'bad' : 'ok'}">${failed ? `${failed} thresholds failed.` : 'All thresholds passed.'}</strong></p>
<table><thead><tr><th scope="col">Metric</th><th scope="col">Value</th><th scope="col">Thresholds</th></tr></thead><tbody>
${body}
</tbody></table>
</body></html>
`;
}
