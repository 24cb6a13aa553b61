// Finding a node by a part of its name.

import { byId, fill, glyph, h } from "./dom.js";

const SHOWN = 12;

/** The field for names, and the list of what was found. */
export class Search {
  /**
   * @param {() => Map<string, object>} nodes all of them.
   * @param {(name: string) => void} onOpen one was chosen.
   * @param {(names: Set<string> | null) => void} onFilter these match; null: nothing is looked for.
   */
  constructor(nodes, onOpen, onFilter) {
    Object.assign(this, { nodes, onOpen, onFilter, found: [], chosen: 0 });
    this.input = byId("search");
    this.list = byId("found");
    this.input.addEventListener("input", () => this.#look());
    this.input.addEventListener("focus", () => this.#look());
    this.input.addEventListener("keydown", (event) => this.#key(event));
    this.input.addEventListener("blur", () => setTimeout(() => this.#hide(), 150));
  }

  focus() {
    this.input.focus();
    this.input.select();
  }

  #look() {
    const text = this.input.value.trim().toLowerCase();
    const names = [...this.nodes().keys()];
    this.found = text ? ranked(names, text) : [];
    this.chosen = 0;
    this.onFilter(text ? new Set(this.found) : null);
    this.#show(text);
  }

  #show(text) {
    const shown = this.found.slice(0, SHOWN);
    const nodes = this.nodes();
    const items = shown.map((name, index) => h("li", {
      id: `found-${index}`, role: "option", "aria-selected": String(index === this.chosen),
      onmousedown: (event) => { event.preventDefault(); this.#open(name); },
    }, glyph(nodes.get(name)?.state ?? "input"), name));
    const more = this.found.length > SHOWN ? h("li", { class: "quiet", role: "presentation" }, `and ${this.found.length - SHOWN} more`) : null;
    fill(this.list, ...items, more, text && !shown.length ? h("li", { class: "quiet", role: "presentation" }, "There is no such node.") : null);
    this.list.hidden = !text;
    this.input.setAttribute("aria-expanded", String(Boolean(text)));
    if (shown.length) this.input.setAttribute("aria-activedescendant", `found-${this.chosen}`);
    else this.input.removeAttribute("aria-activedescendant");
  }

  #key(event) {
    const count = Math.min(this.found.length, SHOWN);
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (!count) return;
      this.chosen = (this.chosen + (event.key === "ArrowDown" ? 1 : count - 1)) % count;
      this.#show(this.input.value.trim());
    } else if (event.key === "Enter") {
      if (count) this.#open(this.found[this.chosen]);
    } else if (event.key === "Escape") {
      this.#clear();
      this.input.blur();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #open(name) {
    this.#clear();
    this.onOpen(name);
  }

  #clear() {
    this.input.value = "";
    this.#look();
  }

  #hide() {
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.onFilter(null);
  }
}

/** Names with this part, or with its letters in this order; the best first. */
function ranked(names, text) {
  const score = (name) => {
    const lower = name.toLowerCase();
    const at = lower.indexOf(text);
    if (at === 0) return lower.length === text.length ? 0 : 1;
    if (at > 0) return "_.".includes(lower[at - 1]) ? 2 : 3;
    let position = -1;
    for (const letter of text) {
      position = lower.indexOf(letter, position + 1);
      if (position < 0) return null;
    }
    return 4;
  };
  return names
    .map((name, index) => ({ name, index, score: score(name) }))
    .filter((found) => found.score !== null)
    .sort((a, b) => a.score - b.score || a.index - b.index)
    .map((found) => found.name);
}
