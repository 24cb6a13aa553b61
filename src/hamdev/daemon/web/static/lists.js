// The problems, and all nodes one below the other.

import { copyable, fill, glyph, h } from "./dom.js";
import { firstChange, shortPath, shortValue, standing, duration } from "./words.js";

/** Everything that is wrong, with its place in the user's own code. */
export class ProblemsView {
  constructor(element, model, onOpen, ask) {
    Object.assign(this, { element, model, onOpen, ask, shown: "" });
  }

  /** How many problems there are. */
  update() {
    const problems = this.model.pipeline?.allProblems() ?? [];
    const shown = JSON.stringify(problems);
    if (shown !== this.shown) {
      this.shown = shown;
      fill(this.element, ...(problems.length
        ? problems.map((problem) => this.#problem(problem))
        : [h("p", { class: "empty" }, "Nothing is wrong.")]));
    }
    return problems.length;
  }

  #problem(problem) {
    const root = this.model.hello?.root;
    const at = problem.line ? `:${problem.line}${problem.column ? `:${problem.column}` : ""}` : "";
    const source = h("div", { class: "around" });
    if (problem.node && problem.line) this.#fillSource(source, problem);
    return h("article", { class: "card failed" },
      h("header", {}, glyph("failed"),
        h("h2", {}, problem.node ? h("button", { type: "button", class: "link", onclick: () => this.onOpen(problem.node) }, problem.node) : titleOf(problem.kind)),
        problem.file && copyable(`${problem.file}${at}`, `${shortPath(problem.file, root)}${at}`)),
      h("p", { class: "message" }, problem.message),
      source,
      problem.traceback && h("details", { open: !problem.node }, h("summary", {}, "Traceback"), h("pre", { class: "code", tabIndex: 0 }, problem.traceback)));
  }

  async #fillSource(element, problem) {
    try {
      const source = await this.ask("source", { node: problem.node, pipeline: this.model.chosen });
      if (source.file === problem.file) fill(element, sourceLines(source, problem.line, 2, problem.column));
    } catch {
      // The place says as much.
    }
  }
}

const titleOf = (kind) =>
  ({ syntax: "Syntax", import: "Import", graph: "Graph", input: "Input", worker: "Worker", settings: "Settings", watch: "Files" })[kind] ?? kind;

/**
 * The lines of a function, numbered as in its file.
 * @param {{text: string, line: number}} source
 * @param {number} marked the line that matters.
 * @param {number} around how many lines before and after it are shown; all by default.
 */
export function sourceLines(source, marked, around = Infinity) {
  const lines = source.text.replace(/\n$/, "").split("\n");
  const rows = lines.map((text, index) => {
    const number = source.line + index;
    if (marked && Math.abs(number - marked) > around) return null;
    return h("div", { class: number === marked ? "line marked" : "line" }, h("span", { class: "at" }, number), h("code", {}, text || " "));
  });
  return h("div", { class: "code", tabIndex: 0, role: "group", "aria-label": "Source" }, ...rows);
}

/** All nodes with state and value: what a small screen shows in place of the graph. */
export class NodesView {
  constructor(element, model, onOpen) {
    Object.assign(this, { element, model, onOpen, rows: new Map() });
    this.list = h("ul", { class: "node-list" });
    fill(element, this.list);
  }

  /** Show how nodes stand; `names` null: all of them. */
  update(names) {
    const { pipeline } = this.model;
    if (!pipeline) return;
    const run = this.model.runs.newest(pipeline.name);
    if (names === null) {
      for (const [name, row] of this.rows) {
        if (!pipeline.nodes.has(name)) {
          row.item.remove();
          this.rows.delete(name);
        }
      }
      names = [...pipeline.nodes.keys()];
    }
    for (const name of names) {
      if (pipeline.nodes.has(name)) this.#show(name, pipeline.nodes.get(name), run);
    }
  }

  #show(name, node, run) {
    let row = this.rows.get(name);
    if (!row) {
      row = { sign: h("span"), value: h("span", { class: "short" }), ms: h("span", { class: "quiet ms" }) };
      row.button = h("button", { type: "button", onclick: () => this.onOpen(name), "data-node": name }, row.sign, h("span", { class: "name" }, name), row.value, row.ms);
      row.item = h("li", {}, row.button);
      this.rows.set(name, row);
      this.list.append(row.item);
    }
    const isChanged = Boolean(run && run.cause.kind !== "start" && run.changed.has(name) && node.state === "fresh");
    const diff = isChanged ? node.diff ?? run.changed.get(name).diff : null;
    const value = diff ? firstChange(diff) : shortValue(node.summary);
    const shown = `${node.state}|${isChanged}|${value}|${node.ms}`;
    if (row.shown === shown) return;
    row.shown = shown;
    row.button.className = `${node.state}${isChanged ? " changed" : ""}`;
    row.button.setAttribute("aria-label", `${name}: ${standing(node.state, node)}${value ? `; ${value}` : ""}`);
    fill(row.sign, glyph(node.state));
    row.value.textContent = value;
    row.ms.textContent = node.action === "ran" ? duration(node.ms) : "";
  }
}

