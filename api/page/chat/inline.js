// Inline Markdown: code, bold, italic, strikethrough and links. Malformed markup is shown as text.

import { h } from '../dom.js';

const LINK_SCHEMES = new Set(['http:', 'https:', 'mailto:']);

// Alternatives in order of precedence. The match that starts first in the text is taken.
const SPAN = new RegExp([
  '(?<tick>`+)(?<code>[\\s\\S]*?[^`])\\k<tick>(?!`)',
  '\\\\(?<escaped>[\\\\`*_{}\\[\\]()#+.!~>|-])',
  '\\[(?<label>[^\\[\\]\\n]{1,300})\\]\\((?<target>[^()\\s]{1,2000})\\)',
  '(?<url>https?:\\/\\/[^\\s<>"\'`]{1,2000})',
  '(?<!\\*)\\*\\*(?<bold>\\S|\\S[^\\n]{0,2000}?\\S)\\*\\*',
  '(?<![\\w_])__(?<bold2>\\S|\\S[^\\n]{0,2000}?\\S)__(?!\\w)',
  '~~(?<strikethrough>\\S|\\S[^\\n]{0,2000}?\\S)~~',
  '\\*(?=[^\\s*])(?<italic>[^\\n*]{1,2000}?)(?<!\\s)\\*(?!\\*)',
  '(?<![\\w_])_(?=[^\\s_])(?<italic2>[^\\n_]{1,2000}?)(?<!\\s)_(?!\\w)',
].join('|'), 'u');

/** How deep spans may nest. */
const MAX_DEPTH = 4;

/** Converts a text to DOM nodes. */
export function inline(text, depth = MAX_DEPTH) {
  const nodes = [];
  let rest = text;
  for (let match = SPAN.exec(rest); match; match = SPAN.exec(rest)) {
    if (match.index > 0) nodes.push(...withLineBreaks(rest.slice(0, match.index)));
    const [node, length] = span(match, depth);
    nodes.push(node);
    rest = rest.slice(match.index + length);
  }
  return rest ? [...nodes, ...withLineBreaks(rest)] : nodes;
}

/** The node of a match, and how many characters it covers. */
function span({ 0: whole, groups }, depth) {
  const inner = (text) => (depth > 0 ? inline(text, depth - 1) : text);
  const { code, escaped, label, target, url } = groups;
  const bold = groups.bold ?? groups.bold2;
  const italic = groups.italic ?? groups.italic2;
  if (code !== undefined) return [h('code', {}, code.replace(/^ (.*) $/s, '$1')), whole.length];
  if (escaped !== undefined) return [escaped, whole.length];
  if (label !== undefined) return [link(target, inner(label)) ?? whole, whole.length];
  if (url !== undefined) {
    // Punctuation after a URL belongs to the sentence.
    const address = url.replace(/[.,;:!?)\]*_]+$/, '');
    return [link(address, address) ?? address, address.length];
  }
  if (bold !== undefined) return [h('strong', {}, inner(bold)), whole.length];
  if (italic !== undefined) return [h('em', {}, inner(italic)), whole.length];
  return [h('s', {}, inner(groups.strikethrough)), whole.length];
}

/** A link, or null if its scheme is not allowed. */
function link(target, label) {
  if (!URL.canParse(target) || !LINK_SCHEMES.has(new URL(target).protocol)) return null;
  return h('a', { href: target, target: '_blank', rel: 'noopener noreferrer nofollow' }, label);
}

const withLineBreaks = (text) => text.split('\n').flatMap((line, number) => (number > 0 ? [h('br'), line] : [line]));
