// Renders Markdown as DOM elements: paragraphs, headings, lists, quotes, code blocks and rules. This is the part of
// CommonMark that models use. It only creates elements and text nodes, so HTML in the input is shown as text.

import { h } from '../dom.js';
import { inline } from './inline.js';

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])(\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])\s+(.*)$/;

/** How deep lists and quotes may nest. Deeper ones are shown as text. */
const MAX_DEPTH = 6;

/** Converts a text to elements. */
export function markdown(text) {
  return blocks(text.replace(/\r\n?/g, '\n').split('\n'), MAX_DEPTH);
}

function blocks(lines, depth) {
  const elements = [];
  let start = 0;
  while (start < lines.length) {
    const [element, next] = block(lines, start, depth);
    if (element) elements.push(element);
    start = next;
  }
  return elements;
}

/** Returns the block that starts at a line, and the index of the line after it. */
function block(lines, start, depth) {
  const line = lines[start];
  if (line.trim() === '') return [null, start + 1];
  const fence = FENCE.exec(line);
  if (fence) return code(lines, start, fence[1]);
  const heading = HEADING.exec(line);
  if (heading) return [h(`h${Math.min(6, heading[1].length + 2)}`, {}, inline(heading[2])), start + 1];
  if (RULE.test(line)) return [h('hr'), start + 1];
  if (depth > 0 && QUOTE.test(line)) return quote(lines, start, depth);
  if (depth > 0 && ITEM.test(line)) return list(lines, start, depth);
  return paragraph(lines, start, depth);
}

function code(lines, start, fence) {
  let end = start + 1;
  const closes = (line) => line.trim().startsWith(fence) && line.trim().replaceAll(fence[0], '') === '';
  while (end < lines.length && !closes(lines[end])) end += 1;
  return [h('pre', { tabindex: 0 }, h('code', {}, lines.slice(start + 1, end).join('\n'))), end + 1];
}

function quote(lines, start, depth) {
  let end = start;
  while (end < lines.length && QUOTE.test(lines[end])) end += 1;
  const inner = lines.slice(start, end).map((line) => line.replace(QUOTE, ''));
  return [h('blockquote', {}, blocks(inner, depth - 1)), end];
}

function list(lines, start, depth) {
  const [, indent, marker] = ITEM.exec(lines[start]);
  const ordered = /\d/.test(marker);
  const items = [];
  let end = start;
  for (; end < lines.length; end += 1) {
    const item = ITEM.exec(lines[end]);
    const deeper = /^ */.exec(lines[end])[0].length > indent.length + 1;
    if (item && !deeper && item[1].length >= indent.length) {
      if (/\d/.test(item[2]) !== ordered) break;
      items.push([item[3]]);
    } else if (deeper && lines[end].trim() !== '') {
      items.at(-1).push(lines[end].slice(Math.min(indent.length + 2, lines[end].search(/\S/))));
    } else if (lines[end].trim() === '' && continuesList(lines[end + 1], indent.length)) {
      items.at(-1).push('');
    } else {
      break;
    }
  }
  const attributes = ordered && Number.parseInt(marker, 10) !== 1 ? { start: Number.parseInt(marker, 10) } : {};
  return [h(ordered ? 'ol' : 'ul', attributes, items.map((item) => listItem(item, depth - 1))), end];
}

/** A list item, with a check box if its text starts with one. */
function listItem([first, ...rest], depth) {
  const [, box, text] = /^\[([ xX])\]\s+(.*)$/.exec(first) ?? [];
  const attributes = box === undefined ? {} : { class: box === ' ' ? 'unchecked' : 'checked' };
  return h('li', attributes, unwrapParagraphs(blocks([text ?? first, ...rest], depth)));
}

/** Whether the line after an empty line still belongs to the list. */
function continuesList(line, indent) {
  return line !== undefined && line.trim() !== '' && (ITEM.exec(line)?.[1].length >= indent || /^ */.exec(line)[0].length > indent + 1);
}

/** Unwraps the paragraphs of an item. */
const unwrapParagraphs = (children) => children.flatMap((child) => (child.tagName === 'P' ? [...child.childNodes] : [child]));

function paragraph(lines, start, depth) {
  let end = start + 1;
  const ends = (line) => line.trim() === '' || FENCE.test(line) || HEADING.test(line) || RULE.test(line)
    || (depth > 0 && (QUOTE.test(line) || ITEM.test(line)));
  while (end < lines.length && !ends(lines[end])) end += 1;
  return [h('p', {}, inline(lines.slice(start, end).map((line) => line.trim()).join('\n'))), end];
}
