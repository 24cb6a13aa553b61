// Elements from data. Text only ever becomes a text node, so no value can become markup.

const SVG = "http://www.w3.org/2000/svg";

/** The element of this id, which index.html has. */
export const byId = (id) => document.getElementById(id);

/** An HTML element with properties, attributes (`aria-…`, `data-…`, `role`) and children. */
export function h(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "class") element.className = value;
    else if (key.includes("-") || key === "role" || key === "for") element.setAttribute(key, value);
    else element[key] = value;
  }
  append(element, children);
  return element;
}

/** An SVG element with attributes and children. */
export function s(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat()) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

/** Show exactly these children; what had the focus has it again, if there is the like of it. */
export function fill(element, ...children) {
  const fragment = document.createDocumentFragment();
  append(fragment, children);
  const focused = element.contains(document.activeElement) && element !== document.activeElement ? document.activeElement : null;
  const key = focused && keyOf(focused);
  element.replaceChildren(fragment);
  if (!focused || element.contains(focused)) return;
  for (const other of element.querySelectorAll("button, input, summary, [tabindex]")) {
    if (keyOf(other) === key) {
      other.focus({ preventScroll: true });
      return;
    }
  }
}

const keyOf = (element) => `${element.tagName} ${element.getAttribute("aria-label") ?? element.textContent}`;

/** The sign of a state; screen readers are told the word instead. */
export function glyph(state) {
  const icon = s("svg", { class: `glyph ${state}`, "aria-hidden": "true" });
  icon.append(s("use", { href: `#glyph-${state}` }));
  return icon;
}

let hiding;

/** Say something for a few seconds. */
export function toast(text) {
  const element = byId("toast");
  element.textContent = text;
  element.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => { element.hidden = true; }, 4000);
}

/** A button that copies a text. */
export function copyable(text, shown = text, label = `Copy ${text}`) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      toast(`Copied ${text}`);
    } catch {
      toast(`The browser does not allow to copy: ${text}`);
    }
  };
  return h("button", { type: "button", class: "place", title: label, onclick: copy }, shown);
}
