// Markdown as elements: paragraphs, headings, lists, quotes, code, rules. A small part of CommonMark, for what models
// write. It makes elements and text nodes only, so whatever a text holds, it stays text.

import { h } from '../dom.js';
import { inline } from './inline.js';

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])(\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])\s+(.*)$/;

/** How deep lists and quotes may nest; deeper ones are shown as text. */
const DEPTH = 6;

/** The elements of a text. */
export function markdown(text) {
  return blocks(text.replace(/\r\n?/g, '\n').split('\n'), DEPTH);
}

function blocks(lines, depth) {
  const made = [];
  let at = 0;
  while (at < lines.length) {
    const [element, next] = block(lines, at, depth);
    if (element) made.push(element);
    at = next;
  }
  return made;
}

/** The block that begins at a line, and the line after it. */
function block(lines, at, depth) {
  const line = lines[at];
  if (line.trim() === '') return [null, at + 1];
  const fence = FENCE.exec(line);
  if (fence) return code(lines, at, fence[1]);
  const heading = HEADING.exec(line);
  if (heading) return [h(`h${Math.min(6, heading[1].length + 2)}`, {}, inline(heading[2])), at + 1];
  if (RULE.test(line)) return [h('hr'), at + 1];
  if (depth > 0 && QUOTE.test(line)) return quote(lines, at, depth);
  if (depth > 0 && ITEM.test(line)) return list(lines, at, depth);
  return paragraph(lines, at, depth);
}

function code(lines, at, fence) {
  let end = at + 1;
  const closes = (line) => line.trim().startsWith(fence) && line.trim().replaceAll(fence[0], '') === '';
  while (end < lines.length && !closes(lines[end])) end += 1;
  return [h('pre', { tabindex: 0 }, h('code', {}, lines.slice(at + 1, end).join('\n'))), end + 1];
}

function quote(lines, at, depth) {
  let end = at;
  while (end < lines.length && QUOTE.test(lines[end])) end += 1;
  const inner = lines.slice(at, end).map((line) => line.replace(QUOTE, ''));
  return [h('blockquote', {}, blocks(inner, depth - 1)), end];
}

function list(lines, at, depth) {
  const [, indent, mark] = ITEM.exec(lines[at]);
  const ordered = /\d/.test(mark);
  const items = [];
  let end = at;
  for (; end < lines.length; end += 1) {
    const item = ITEM.exec(lines[end]);
    const deeper = /^ */.exec(lines[end])[0].length > indent.length + 1;
    if (item && !deeper && item[1].length >= indent.length) {
      if (/\d/.test(item[2]) !== ordered) break;
      items.push([item[3]]);
    } else if (deeper && lines[end].trim() !== '') {
      items.at(-1).push(lines[end].slice(Math.min(indent.length + 2, lines[end].search(/\S/))));
    } else if (lines[end].trim() === '' && goesOn(lines[end + 1], indent.length)) {
      items.at(-1).push('');
    } else {
      break;
    }
  }
  const attributes = ordered && Number.parseInt(mark, 10) !== 1 ? { start: Number.parseInt(mark, 10) } : {};
  return [h(ordered ? 'ol' : 'ul', attributes, items.map((item) => entry(item, depth - 1))), end];
}

/** An item, with a box before it if its text begins with one. */
function entry([first, ...rest], depth) {
  const [, box, text] = /^\[([ xX])\]\s+(.*)$/.exec(first) ?? [];
  const attributes = box === undefined ? {} : { class: box === ' ' ? 'unticked' : 'ticked' };
  return h('li', attributes, tight(blocks([text ?? first, ...rest], depth)));
}

/** Whether the line after an empty one still belongs to a list. */
function goesOn(line, indent) {
  return line !== undefined && line.trim() !== '' && (ITEM.exec(line)?.[1].length >= indent || /^ */.exec(line)[0].length > indent + 1);
}

/** An item with one paragraph needs none. */
const tight = (children) => children.flatMap((child) => (child.tagName === 'P' ? [...child.childNodes] : [child]));

function paragraph(lines, at, depth) {
  let end = at + 1;
  const ends = (line) => line.trim() === '' || FENCE.test(line) || HEADING.test(line) || RULE.test(line)
    || (depth > 0 && (QUOTE.test(line) || ITEM.test(line)));
  while (end < lines.length && !ends(lines[end])) end += 1;
  return [h('p', {}, inline(lines.slice(at, end).map((line) => line.trim()).join('\n'))), end];
}
