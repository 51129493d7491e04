// Creates DOM elements. Text always becomes a text node: the page never parses HTML.

/** Creates an element with attributes, `on…` listeners and children (nodes, strings, or null and false to skip). */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) set(element, name, value);
  element.append(...flatten(children));
  return element;
}

const SVG_NAMESPACE = 'http://www.w3.org/2000/svg';

/** Creates an SVG element. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG_NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...flatten(children));
  return element;
}

/** Replaces the children of an element. */
export function setChildren(element, ...children) {
  element.replaceChildren(...flatten(children));
}

const flatten = (children) => children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);

function set(element, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
  else if (name in PROPERTIES) element[name] = value;
  else element.setAttribute(name, value === true ? '' : String(value));
}

const PROPERTIES = { value: 1, checked: 1, disabled: 1, hidden: 1, open: 1 };

// One path per icon, on a 24 × 24 grid, stroked 1.7 wide.
const ICONS = {
  plus: 'M12 5v14M5 12h14',
  menu: 'M4 7h16M4 12h16M4 17h16',
  list: 'M10 6.5h10M10 12h10M10 17.5h10M4 6.5l1.2 1.2L7.4 5.2M4 12l1.2 1.2 2.2-2.5M4 17.5l1.2 1.2 2.2-2.5',
  close: 'M6 6l12 12M18 6L6 18',
  send: 'M12 19V5M6 11l6-6 6 6',
  stop: 'M7.5 7.5h9v9h-9z',
  edit: 'M4 20l1-4L16 5l3 3L8 19l-4 1zM14 7l3 3',
  delete: 'M5 7h14M10 7V4.5h4V7M7 7l.8 12.5h8.4L17 7M10.5 10.5v6M13.5 10.5v6',
  theme: 'M12 4a8 8 0 1 0 8 8 6 6 0 0 1-8-8z',
  'sign-out': 'M14 4.5H6v15h8M10 12h10M17 9l3 3-3 3',
  check: 'M5 12.5l4.5 4.5L19 7',
  cross: 'M7 7l10 10M17 7L7 17',
  retry: 'M5 12a7 7 0 1 1 2.2 5.1M5 18v-4.5h4.5',
  down: 'M12 5v14M6 13l6 6 6-6',
};

/** A decorative icon, hidden from screen readers. */
export function icon(name) {
  return svg('svg', { viewBox: '0 0 24 24', 'aria-hidden': 'true', class: `icon icon-${name}` }, svg('path', { d: ICONS[name] }));
}

/** A button that shows only an icon; `label` is its accessible name. */
export function iconButton(name, label, onclick, attributes = {}) {
  return h('button', { type: 'button', class: 'icon-button', 'aria-label': label, title: label, onclick, ...attributes }, icon(name));
}
