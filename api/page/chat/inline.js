// Markdown within a line: code, bold, italic, struck out, links. What is not well formed stays as it is.

import { h } from '../dom.js';

const LINK_SCHEMES = new Set(['http:', 'https:', 'mailto:']);

// In order of precedence; each is tried where the one that begins first is found.
const SPAN = new RegExp([
  '(?<tick>`+)(?<code>[\\s\\S]*?[^`])\\k<tick>(?!`)',
  '\\\\(?<escaped>[\\\\`*_{}\\[\\]()#+.!~>|-])',
  '\\[(?<label>[^\\[\\]\\n]{1,300})\\]\\((?<target>[^()\\s]{1,2000})\\)',
  '(?<bare>https?:\\/\\/[^\\s<>"\'`]{1,2000})',
  '(?<!\\*)\\*\\*(?<bold>\\S|\\S[^\\n]{0,2000}?\\S)\\*\\*',
  '(?<![\\w_])__(?<bold2>\\S|\\S[^\\n]{0,2000}?\\S)__(?!\\w)',
  '~~(?<struck>\\S|\\S[^\\n]{0,2000}?\\S)~~',
  '\\*(?=[^\\s*])(?<italic>[^\\n*]{1,2000}?)(?<!\\s)\\*(?!\\*)',
  '(?<![\\w_])_(?=[^\\s_])(?<italic2>[^\\n_]{1,2000}?)(?<!\\s)_(?!\\w)',
].join('|'), 'u');

/** How deep one span may stand in another. */
const DEPTH = 4;

/** The nodes of a text. */
export function inline(text, depth = DEPTH) {
  const nodes = [];
  let rest = text;
  for (let found = SPAN.exec(rest); found; found = SPAN.exec(rest)) {
    if (found.index > 0) nodes.push(...broken(rest.slice(0, found.index)));
    const [node, taken] = span(found, depth);
    nodes.push(node);
    rest = rest.slice(found.index + taken);
  }
  return rest ? [...nodes, ...broken(rest)] : nodes;
}

function span({ 0: whole, groups }, depth) {
  const inner = (text) => (depth > 0 ? inline(text, depth - 1) : text);
  const { code, escaped, label, target, bare } = groups;
  const bold = groups.bold ?? groups.bold2;
  const italic = groups.italic ?? groups.italic2;
  if (code !== undefined) return [h('code', {}, code.replace(/^ (.*) $/s, '$1')), whole.length];
  if (escaped !== undefined) return [escaped, whole.length];
  if (label !== undefined) return [link(target, inner(label)) ?? whole, whole.length];
  if (bare !== undefined) {
    const address = bare.replace(/[.,;:!?)\]*_]+$/, '');
    return [link(address, address) ?? address, address.length];
  }
  if (bold !== undefined) return [h('strong', {}, inner(bold)), whole.length];
  if (italic !== undefined) return [h('em', {}, inner(italic)), whole.length];
  return [h('s', {}, inner(groups.struck)), whole.length];
}

/** A link, if it leads to where links may lead; null otherwise. */
function link(target, label) {
  if (!URL.canParse(target) || !LINK_SCHEMES.has(new URL(target).protocol)) return null;
  return h('a', { href: target, target: '_blank', rel: 'noopener noreferrer nofollow' }, label);
}

/** A text with its line breaks. */
const broken = (text) => text.split('\n').flatMap((line, number) => (number > 0 ? [h('br'), line] : [line]));
