// What each save did: the lines that changed, and the values that are others because of that.

import { copyable, fill, glyph, h } from "./dom.js";
import { isBlank } from "./runs.js";
import { duration, fileName, number, plural, shortDiff, shortPath, timeOfDay } from "./words.js";

const SHOWN = 40;
const FEW = 20;
// What is longer is no pair that the eye compares.
const MAX_SIDES = 56;
const OUTCOMES = {
  ok: ["fresh", ""],
  failed: ["failed", "failed"],
  cancelled: ["stale", "cancelled"],
  superseded: ["stale", "overtaken by a newer save"],
  unknown: ["stale", "its end was not seen"],
};

/** The list of runs, the newest first and in full. */
export class ChangesView {
  /**
   * @param {HTMLElement} element where to show it.
   * @param {import("./model.js").Model} model
   * @param {(name: string) => void} onOpen somebody wants to see a node.
   */
  constructor(element, model, onOpen) {
    this.element = element;
    this.model = model;
    this.onOpen = onOpen;
    this.cards = new Map();
    this.expanded = new Set();
    this.latest = h("div", { class: "latest" });
    this.warnings = h("div", { class: "warnings" });
    this.title = h("h2", { class: "heading" }, "Before that");
    this.earlier = h("ol", { class: "earlier" });
    fill(element, this.latest, this.warnings, this.title, this.earlier);
  }

  /** Show what is known now. */
  update() {
    const { model } = this;
    const runs = model.runs.list.filter((run) => run.pipeline === model.chosen);
    const [newest, ...older] = runs;
    const state = newest ? `${newest.key}|${newest.version}|${model.pipeline?.state}` : model.pipeline?.state;
    if (this.newest !== state) {
      this.newest = state;
      fill(this.latest, newest ? this.#card(newest) : this.#nothing());
    }
    fill(this.warnings, ...model.warnings.slice(-3).map((warning) => h("p", { class: "warning" }, h("span", { class: "quiet" }, `${timeOfDay(warning.time)} `), warning.message)));
    this.title.hidden = !older.length;
    for (const run of older) this.#row(run);
    for (const [key, { item }] of this.cards) {
      if (!older.some((run) => run.key === key)) {
        item.remove();
        this.cards.delete(key);
      }
    }
    const items = older.map((run) => this.cards.get(run.key).item);
    if (items.some((item, index) => this.earlier.children[index] !== item)) this.earlier.replaceChildren(...items);
  }

  #nothing() {
    const { pipeline } = this.model;
    const was = pipeline?.run ? "What the last run did is not remembered." : "No run has been seen yet.";
    return h("p", { class: "empty" }, pipeline?.state === "starting" ? "The first run is about to begin." : `${was} Save a module, and this shows what that did.`);
  }

  #row(run) {
    const known = this.cards.get(run.key);
    if (known?.version === run.version) return;
    const changed = [...run.changed].filter(([, { diff }]) => diff);
    const [sign, word] = run.outcome ? OUTCOMES[run.outcome] : ["running", "running"];
    const headline = run.failed.size || run.problems.length
      ? h("span", { class: "bad" }, run.problems.length ? run.problems[0].message.split("\n", 1)[0] : `${[...run.failed.keys()].slice(0, 2).join(", ")} raised`)
      : changed.length
        ? h("span", {}, h("b", {}, changed.at(-1)[0]), " ", shortDiff(changed.at(-1)[1].diff))
        : h("span", { class: "quiet" }, run.cause.kind === "start" ? "first run" : isBlank(run) ? `${plural(run.ran.size, "node")} ran` : "no value changed");
    const summary = h("summary", {}, glyph(sign),
      h("span", { class: "row-head" }, h("span", {}, this.#cause(run)), h("span", { class: "quiet" }, word || timeOfDay(run.time))),
      h("span", { class: "row-text" }, headline));
    const details = h("details", { open: this.expanded.has(run.key) }, summary);
    const open = () => {
      if (details.open) {
        this.expanded.add(run.key);
        if (details.children.length === 1) details.append(this.#body(run));
      } else this.expanded.delete(run.key);
    };
    details.addEventListener("toggle", open);
    if (details.open) details.append(this.#body(run));
    const item = known?.item ?? h("li", {});
    fill(item, details);
    this.cards.set(run.key, { item, version: run.version });
  }

  #cause(run) {
    const { kind, text } = run.cause;
    return kind === "save" ? text : text.charAt(0).toUpperCase() + text.slice(1);
  }

  #card(run) {
    const [sign, word] = run.outcome ? OUTCOMES[run.outcome] : ["running", "running"];
    const facts = [`revision ${run.revision}`, timeOfDay(run.time), duration(run.ms), word].filter(Boolean).join(" · ");
    return h("article", { class: `card ${run.outcome ?? "running"}` },
      h("header", {}, glyph(sign), h("h2", {}, this.#cause(run)), h("p", { class: "quiet" }, facts)),
      this.#body(run));
  }

  #body(run) {
    const parts = [];
    const edits = this.model.runs.editsOf(run);
    if (edits && run.cause.kind === "save") parts.push(...edits.map((edit) => this.#edit(edit, run)));
    else if (run.cause.files?.length) parts.push(h("p", { class: "files quiet" }, run.cause.files.map(fileName).join(", ")));
    for (const problem of run.problems) parts.push(this.#problem(problem));
    for (const [name, problem] of run.failed) parts.push(this.#problem({ node: name, ...problem }));
    parts.push(this.#values(run), this.#ran(run));
    return h("div", { class: "card-body" }, ...parts);
  }

  #problem(problem) {
    const place = problem.file && copyable(`${problem.file}:${problem.line ?? 1}`, `${fileName(problem.file)}:${problem.line ?? 1}`);
    return h("div", { class: "problem" },
      h("p", {}, glyph("failed"), problem.node && this.#link(problem.node), " ", h("span", {}, problem.message)), place);
  }

  /** The lines of a file that changed, and the nodes whose code they are. */
  #edit(edit, run) {
    const line = edit.hunks[0]?.line;
    const place = line ? `${edit.file}:${line}` : edit.file;
    const rows = edit.hunks.flatMap((hunk) => [
      ...hunk.before.map((text) => codeLine("removed", "−", text)),
      ...hunk.after.map((text, index) => codeLine("added", "+", text, hunk.line + index)),
      hunk.more ? h("div", { class: "quiet" }, `… ${plural(hunk.more, "more line")}`) : null,
    ]);
    if (edit.more) rows.push(h("div", { class: "quiet" }, `… ${plural(edit.more, "more place")}`));
    const { runs, pipeline } = this.model;
    const nodes = [...run.roots.keys()].filter((name) => runs.originOf(run, name, pipeline?.graph)?.file === edit.file).slice(0, 5);
    const shown = `${shortPath(edit.file, this.model.hello?.root)}${line ? `:${line}` : ""}`;
    return h("figure", { class: "edit" },
      h("figcaption", {}, copyable(place, shown), ...nodes.flatMap((name) => [" ", this.#link(name)])),
      rows.length ? h("div", { class: "code", tabIndex: 0, role: "group", "aria-label": `Lines that changed in ${fileName(edit.file)}` }, ...rows) : null);
  }

  #link(name) {
    return h("button", { type: "button", class: "link", onclick: () => this.onOpen(name) }, name);
  }

  #values(run) {
    if (!run.changed.size && run.ran.size && isBlank(run)) return null;
    const final = this.model.pipeline?.finalVars ?? new Set();
    // First what was asked for, and of that what is told in one pair.
    const weight = ([name, { diff }]) => (diff ? 0 : 4) + (final.has(name) ? 0 : 2) + (diff?.changes?.length === 1 ? 0 : 1);
    const rows = [...run.changed].sort((a, b) => weight(a) - weight(b));
    if (!rows.length) {
      const text = run.outcome === "ok" ? "No value changed." : "";
      return text && h("p", { class: "quiet none" }, text);
    }
    const list = h("ul", { class: "values" }, ...rows.slice(0, SHOWN).map(([name, change]) => this.#value(name, change, final.has(name))));
    return h("div", {}, h("h3", {}, `${plural(rows.length, "value")} changed`), list, this.#rest(rows, list, final));
  }

  #rest(rows, list, final) {
    if (rows.length <= SHOWN) return null;
    const button = h("button", { type: "button", class: "link" }, `Show all ${rows.length}`);
    button.addEventListener("click", () => {
      list.append(...rows.slice(SHOWN).map(([name, change]) => this.#value(name, change, final.has(name))));
      button.remove();
    });
    return button;
  }

  #value(name, { diff, value }, isFinal) {
    return h("li", { class: isFinal ? "final" : "" },
      h("button", { type: "button", class: "link name", onclick: () => this.onOpen(name), title: isFinal ? "a final value of this pipeline" : "" }, name),
      diff ? diffText(diff) : h("span", { class: "diff quiet" }, value ? `now ${value}` : "changed"));
  }

  #ran(run) {
    if (!run.ran.size) {
      const reused = run.reused ? `, ${run.reused} reused` : "";
      return run.outcome && h("p", { class: "quiet ran" }, `No node ran${reused}.`);
    }
    // Of many, the slowest are what somebody may want to know.
    const ordered = run.ran.size > FEW ? [...run.ran].sort((a, b) => b[1] - a[1]) : [...run.ran];
    const names = ordered.slice(0, FEW).map(([name, ms]) =>
      h("li", {}, this.#link(name), h("span", { class: "quiet" }, duration(ms))));
    const more = run.ran.size > FEW ? h("li", { class: "quiet" }, `and ${number(run.ran.size - FEW)} faster ones`) : null;
    const of = run.outcome ? "" : ` of ${run.planned}`;
    return h("div", { class: "ran" },
      h("h3", {}, `${plural(run.ran.size, "node")} ran${of}`, run.reused ? h("span", { class: "quiet" }, ` · ${run.reused} reused`) : null),
      h("ul", { class: "chips" }, ...names, more));
  }
}

// A number with its unit, or a word.
const PAIR = /([\d.,]+ %|[^\s→]+) → ([\d.,]+ %|[^\s→]*[^\s→,])/g;

/** A text with the two sides of each arrow in it told apart. */
export function withSides(text) {
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(PAIR)) {
    parts.push(text.slice(end, found.index), h("del", {}, found[1]), h("span", { class: "to" }, " → "), h("ins", {}, found[2]));
    end = found.index + found[0].length;
  }
  return [...parts, text.slice(end)];
}

/** A difference, with what was before and after told apart. */
export function diffText(diff) {
  const only = diff.changes?.length === 1 ? diff.changes[0] : null;
  if (only?.before !== undefined && only?.after !== undefined && only.before.length + only.after.length <= MAX_SIDES) {
    const start = `${only.before} → ${only.after}`;
    const rest = diff.text.startsWith(start) ? diff.text.slice(start.length) : "";
    return h("span", { class: "diff" }, h("del", {}, only.before), h("span", { class: "to" }, " → "), h("ins", {}, only.after), rest && h("span", { class: "quiet" }, rest));
  }
  return h("span", { class: diff.text.length > MAX_SIDES ? "diff long" : "diff" }, ...withSides(shortDiff(diff)));
}

function codeLine(kind, sign, text, number) {
  return h("div", { class: `line ${kind}` },
    h("span", { class: "sign", role: "img", "aria-label": kind }, sign), h("span", { class: "at" }, number ?? ""), h("code", {}, text || " "));
}
