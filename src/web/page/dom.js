// Helpers for all parts of the view. Text goes into text nodes, never through an HTML parser.

const SVG = "http://www.w3.org/2000/svg";
const HUES = 10;

export function byId(id) {
  return document.getElementById(id);
}

/** Creates an element. A function among the attributes is an event listener, and a string child is a text node. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== false && value !== undefined) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** An icon of the sprite in index.html, hidden from screen readers. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** A disc with the initial of a name, in the colour of the name. */
export function avatar(name) {
  return el("span", { class: `avatar ${hue(name)}`, "aria-hidden": "true" }, [...name][0]?.toUpperCase() ?? "?");
}

/** The class with the colour of a name. */
export function hue(name) {
  // FNV-1a spreads even names of one letter.
  let hash = 0x811c9dc5;
  for (const char of name) hash = Math.imul(hash ^ char.codePointAt(0), 0x01000193);
  return `hue-${(hash >>> 8) % HUES}`;
}

/**
 * Updates the elements of a list to match `items`. An element in its place is not moved, so it keeps the focus.
 * `create(item)` returns a new element, and `update(element, item)` updates one.
 */
export function reconcile(list, items, keyOf, create, update) {
  const old = new Map([...list.children].map((element) => [element.dataset.key, element]));
  const keys = new Set(items.map(keyOf));
  for (const [key, element] of old) if (!keys.has(key)) element.remove();
  let next = list.firstElementChild;
  for (const item of items) {
    const element = old.get(keyOf(item)) ?? create(item);
    element.dataset.key = keyOf(item);
    if (element === next) next = next.nextElementSibling;
    else list.insertBefore(element, next);
    update(element, item);
  }
}

export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString()} ${count === 1 ? one : many}`;
}
