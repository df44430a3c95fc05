// Elements from names, attributes and texts. Text is only ever set as text: nothing of a record is read as HTML.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** Make an element; `on...` attributes are listeners, `class` and others are set as they are, null ones are left out. */
export function h(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same of SVG. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Set a text, only where it changes: what a screen reader reads stays calm. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Bring the rows of a table to what they should be, keeping those that are there, so that focus and selection stay. */
export function keep(parent, keys, make) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  keys.forEach((key, place) => {
    const child = known.get(key) ?? make(key);
    child.dataset.key = key;
    known.delete(key);
    if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] ?? null);
  });
  for (const child of known.values()) child.remove();
}
