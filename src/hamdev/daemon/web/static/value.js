// A node's value: as a table, page by page from the worker; as a picture; as text.

import { ask, linked, RequestError } from "./connection.js";
import { fill, h } from "./dom.js";
import { number, size } from "./words.js";

const PAGE = 100;
const SLOW_MS = 500;
const LISTS = /^(list|tuple|dict|set|frozenset|numpy\.ndarray|collections\.)/;

/** The value of one node, of whichever revision there is. */
export class ValueView {
  constructor(element, node, pipeline) {
    Object.assign(this, { element, node, pipeline, offset: 0, mode: null, turn: 0 });
    this.modes = h("div", { class: "modes", role: "group", "aria-label": "Show the value as" });
    this.body = h("div", { class: "value-body" });
    fill(element, this.modes, this.body);
  }

  /** Show the value that this status is about. */
  update(status) {
    const { summary } = status;
    const modes = [];
    if (summary?.picture) modes.push("picture");
    if (summary?.columns || LISTS.test(summary?.type ?? "")) modes.push("table");
    modes.push("text");
    if (!modes.includes(this.mode)) this.mode = summary?.columns || summary?.picture ? modes[0] : "text";
    this.status = status;
    this.#buttons(modes);
    return this.#load();
  }

  /** Wait for no answer any more. */
  stop() {
    this.turn += 1;
    this.asking?.abort();
    clearTimeout(this.patience);
  }

  #buttons(modes) {
    this.modes.hidden = modes.length < 2;
    fill(this.modes, ...modes.map((mode) => h("button", {
      type: "button", class: "mode", "aria-pressed": String(mode === this.mode),
      onclick: () => { this.mode = mode; this.offset = 0; this.#buttons(modes); this.#load(); },
    }, mode)));
  }

  async #load() {
    this.stop();
    const { turn } = this;
    this.asking = new AbortController();
    this.patience = setTimeout(() => this.#wait(), SLOW_MS);
    const of = { node: this.node, pipeline: this.pipeline };
    try {
      const shown = this.mode === "picture" ? await this.#picture() : this.mode === "table" ? await this.#table(of) : await this.#text(of);
      if (turn === this.turn) this.#show(...shown);
    } catch (error) {
      if (turn !== this.turn) return;
      if (this.mode === "table" && error instanceof RequestError && error.code === 3) {
        this.mode = "text";
        await this.#load();
      } else this.#show(h("p", { class: "quiet" }, error instanceof RequestError ? error.message : "The daemon does not answer."));
    }
  }

  #wait() {
    this.body.setAttribute("aria-busy", "true");
    if (!this.body.hasChildNodes()) fill(this.body, h("p", { class: "quiet" }, "The worker has not answered yet."));
  }

  #show(...shown) {
    clearTimeout(this.patience);
    this.body.removeAttribute("aria-busy");
    fill(this.body, ...shown);
  }

  async #picture() {
    await linked();
    const query = new URLSearchParams({ node: this.node, pipeline: this.pipeline, run: this.status.run ?? 0 });
    const image = h("img", { class: "picture", src: `picture?${query}`, alt: `The value of ${this.node} as a picture` });
    image.addEventListener("error", () => fill(this.body, h("p", { class: "quiet" }, "There is no picture of this value any more.")));
    return [image];
  }

  async #text(of) {
    const value = await ask("text", of, this.asking.signal);
    if (!value.text) return [h("p", { class: "quiet" }, "The text is empty."), this.#dated(value)];
    const cut = value.cut && h("p", { class: "quiet" }, `The first part of ${size(value.bytes)}.`);
    return [h("pre", { class: "code text", tabIndex: 0 }, value.text), cut, this.#dated(value)];
  }

  async #table(of) {
    const rows = await ask("rows", { ...of, offset: this.offset, limit: PAGE }, this.asking.signal);
    if (!rows.rows.length && this.offset && this.offset >= rows.total) {
      this.offset = Math.max(0, Math.floor((rows.total - 1) / PAGE) * PAGE);
      return this.#table(of);
    }
    const isNumber = rows.types.map((type) => /int|float|double|decimal/i.test(type));
    const head = rows.columns.map((column, index) => h("th", { scope: "col", class: isNumber[index] ? "number" : "" }, column, h("small", {}, rows.types[index] ?? "")));
    const body = rows.rows.map((cells, index) => h("tr", {}, h("th", { scope: "row", class: "at" }, number(this.offset + index)),
      ...cells.map((cell, column) => h("td", { class: isNumber[column] ? "number" : "" }, cell))));
    const table = h("table", {}, h("thead", {}, h("tr", {}, h("th", { class: "at" }, "#"), ...head)), h("tbody", {}, ...body));
    const left = rows.columns_total > rows.columns.length && h("p", { class: "quiet" }, `The first ${rows.columns.length} of ${number(rows.columns_total)} columns.`);
    return [this.#pager(rows), h("div", { class: "table", tabIndex: 0, role: "group", "aria-label": "Rows" }, table), left, this.#dated(rows)];
  }

  #pager({ total, rows, offset }) {
    const last = Math.max(0, Math.floor((total - 1) / PAGE) * PAGE);
    const go = (to) => () => { this.offset = Math.min(last, Math.max(0, to)); this.#load(); };
    const button = (sign, label, to, off) => h("button", { type: "button", class: "icon", "aria-label": label, title: label, disabled: off, onclick: go(to) }, sign);
    const next = offset + rows.length;
    const shown = total ? `${number(offset)} – ${number(next - 1)} of ${number(total)} rows` : "no rows";
    if (total <= rows.length) return h("p", { class: "pager quiet" }, total === 1 ? "1 row" : `${number(total)} rows`);
    const jump = h("input", { type: "number", min: 0, max: total - 1, placeholder: "row", "aria-label": "Go to row" });
    jump.addEventListener("change", () => jump.value !== "" && go(Math.floor(Number(jump.value) / PAGE) * PAGE)());
    return h("div", { class: "pager", role: "toolbar", "aria-label": "Rows" },
      button("«", "First rows", 0, offset === 0), button("‹", "Rows before", offset - PAGE, offset === 0),
      h("span", { class: "where", role: "status" }, shown),
      button("›", "Next rows", next, next >= total), button("»", "Last rows", last, next >= total), jump);
  }

  /** Whatever came is of this revision, which a value shown as current must have. */
  #dated({ revision }) {
    const isOld = revision !== undefined && revision !== null && this.status.state === "fresh" && revision < this.status.revision;
    return isOld ? h("p", { class: "old" }, `This is the value of revision ${revision}.`) : null;
  }
}
