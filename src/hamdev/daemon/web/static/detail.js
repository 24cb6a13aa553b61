// All about one node: how it stands, what changed in it, its value, why it ran, its source.

import { ask, RequestError } from "./connection.js";
import { copyable, fill, glyph, h } from "./dom.js";
import { diffText, withSides } from "./changes.js";
import { sourceLines } from "./lists.js";
import { ValueView } from "./value.js";
import { duration, number, shortPath, standing, timeOfDay, typeName } from "./words.js";

/** The panel of the node that was chosen. */
export class DetailView {
  /**
   * @param {HTMLElement} element where to show it.
   * @param {import("./model.js").Model} model
   * @param {{open: Function, close: Function, rerun: Function, widen: Function}} actions
   */
  constructor(element, model, actions) {
    Object.assign(this, { element, model, actions, name: null });
  }

  /** Show a node. */
  open(name) {
    if (this.name === name && this.pipeline === this.model.chosen) return;
    this.#stop();
    this.name = name;
    this.pipeline = this.model.chosen;
    this.loaded = this.sourced = "";
    this.parts = Object.fromEntries(["head", "problem", "change", "value", "why", "source", "around", "output"].map((key) => [key, h("section", { class: `part part-${key}` })]));
    const valueBody = h("div");
    fill(this.parts.value, h("h3", {}, "Value"), valueBody);
    this.value = new ValueView(valueBody, name, this.pipeline);
    fill(this.element, ...Object.values(this.parts));
    this.element.setAttribute("aria-label", `Node ${name}`);
    this.element.hidden = false;
    this.element.scrollTop = 0;
    this.update();
  }

  close() {
    this.#stop();
    this.name = null;
    this.element.hidden = true;
    fill(this.element);
  }

  /** Ask again for all that is shown. */
  reload() {
    this.loaded = this.sourced = "";
    this.update();
  }

  /** What was asked for and has not come keeps a connection, of which there are few. */
  #stop() {
    this.value?.stop();
    this.loading?.abort();
    this.sourcing?.abort();
  }

  /** Show how the node stands now. */
  update() {
    if (this.name === null) return;
    const node = this.model.pipeline?.nodes.get(this.name);
    const described = this.#described();
    this.#head(node, described);
    this.#problem(node);
    this.#change(node);
    this.#around();
    this.#output();
    const state = `${node?.state}|${node?.run}|${node?.revision}|${this.model.statusSeq}`;
    if (this.loaded !== state) {
      this.loaded = state;
      this.#load(node);
    }
    const source = `${described?.file}|${described?.line}|${this.model.pipeline?.graph?.revision}`;
    if (this.sourced !== source) {
      this.sourced = source;
      this.#source(described);
    }
  }

  #described() {
    return this.model.pipeline?.graph?.nodes.find((node) => node.name === this.name);
  }

  #head(node, described) {
    const { open, close, rerun, widen } = this.actions;
    const isInput = described && described.kind !== "function";
    const state = node?.state ?? (isInput ? "input" : "lacking");
    const place = described?.file && copyable(`${described.file}:${described.line}`, `${shortPath(described.file, this.model.hello?.root)}:${described.line}`);
    const words = isInput ? `${described.kind === "config" ? "config value" : "input"}, given from outside` : node || described ? standing(state, node) : "There is no such node any more.";
    const dated = [duration(node?.ms), node?.revision && `revision ${node.revision}`, this.#when(node)].filter(Boolean).join(" · ");
    const isOld = node && node.state !== "fresh" && node.summary;
    fill(this.parts.head,
      h("div", { class: "detail-bar" },
        h("button", { type: "button", class: "link back", onclick: close }, "← What changed"),
        h("span", { class: "grow" }),
        node && h("button", { type: "button", onclick: () => rerun([this.name]), title: "Run this node again" }, "Rerun node"),
        h("button", { type: "button", class: "icon widen", onclick: widen, "aria-label": "Wider or narrower", title: "Wider or narrower (w)" }, "⇔"),
        h("button", { type: "button", class: "icon", onclick: close, "aria-label": "Close", title: "Close (Esc)" }, "✕")),
      h("h2", { class: "detail-name" }, this.name),
      h("p", { class: `stand ${state}` }, glyph(state), h("span", {}, words), dated && h("span", { class: "quiet" }, dated)),
      isOld && h("p", { class: "old" }, `The value below is ${this.#age(node)}; it is not current.`),
      h("p", { class: "quiet" }, [typeName(node?.summary?.type) || described?.type, node?.summary?.shape?.map(number).join(" × ")].filter(Boolean).join(" "), place && " · ", place),
      described?.doc && h("p", { class: "doc" }, described.doc));
  }

  #when(node) {
    return timeOfDay(this.model.timeOf(node));
  }

  #age(node) {
    const time = this.#when(node);
    return `of revision ${node.revision}${time ? `, from ${time}` : ""}`;
  }

  #problem(node) {
    const { problem } = node ?? {};
    const by = problem ? null : this.#failedBefore();
    if (!problem && node?.state !== "blocked") {
      fill(this.parts.problem);
      return;
    }
    const at = problem?.file && `${problem.file}:${problem.line ?? 1}`;
    fill(this.parts.problem, h("div", { class: "problem" },
      problem ? h("p", { class: "message" }, problem.message) : h("p", {}, "It needs ", by ? this.#link(by) : "a node", ", which failed."),
      at && copyable(at, shortPath(at, this.model.hello?.root)),
      problem?.traceback && h("pre", { class: "code", tabIndex: 0 }, problem.traceback)));
  }

  /** A node that failed, and that this one needs. */
  #failedBefore() {
    const { nodes, graph } = this.model.pipeline;
    const seen = new Set([this.name]);
    // Each is added once, so this ends.
    for (const name of seen) {
      if (nodes.get(name)?.state === "failed") return name;
      for (const [from, to] of graph?.edges ?? []) if (to === name) seen.add(from);
    }
    return null;
  }

  #change(node) {
    const diff = node?.diff;
    const changes = diff?.changes?.length > 1 ? diff.changes : [];
    if (!diff) {
      fill(this.parts.change);
      return;
    }
    fill(this.parts.change, h("h3", {}, diff.since ? `Changed since revision ${diff.since}` : "Changed"),
      h("p", { class: "headline" }, diffText(diff)),
      changes.length ? h("ul", { class: "change-list" }, ...changes.map((change) => h("li", {}, ...withSides(change.text)))) : null,
      diff.sampled ? h("p", { class: "quiet" }, `Found in a sample of ${diff.sampled}.`) : null);
  }

  #value(node) {
    this.parts.value.hidden = !node?.summary;
    if (node?.summary && node.state !== "running" && node.state !== "queued") this.value.update(node);
  }

  async #load(node) {
    const { name, pipeline, loaded } = this;
    this.#value(node);
    this.loading?.abort();
    if (!node) {
      fill(this.parts.why);
      return;
    }
    this.loading = new AbortController();
    try {
      const found = await ask("node", { node: name, pipeline }, this.loading.signal);
      if (this.name !== name || this.loaded !== loaded) return;
      const known = this.model.pipeline?.nodes.get(name);
      if (found.status && known && found.seq >= this.model.seq && found.status.run === known.run) {
        // Of many nodes a snapshot tells only the beginnings.
        Object.assign(known, { summary: found.status.summary ?? known.summary, diff: found.status.diff, problem: found.status.problem });
        this.#head(known, this.#described());
        this.#change(known);
        this.#problem(known);
        if (!node.summary) this.#value(known);
      }
      this.#why(found.why, known ?? node);
    } catch (error) {
      if (this.name === name && this.loaded === loaded) fill(this.parts.why, error instanceof RequestError ? h("p", { class: "quiet" }, error.message) : null);
    }
  }

  #why(why, node) {
    if (!why) return;
    const hasRun = node.state === "fresh" || node.state === "failed";
    const verb = { run: hasRun ? "Why it ran" : "Why it has to run", reuse: "Why it was reused" }[why.action] ?? "Why";
    const root = this.model.hello?.root;
    const reasons = why.because.map((because) => {
      const at = because.file && `${because.file}${because.line ? `:${because.line}` : ""}`;
      const text = at ? because.text.replace(` in ${at}`, "") : because.text;
      const link = because.name && because.name !== this.name && this.model.pipeline?.nodes.has(because.name) ? this.#link(because.name) : null;
      return h("li", {}, text, " ", at && copyable(at, shortPath(at, root)), link && " ", link);
    });
    fill(this.parts.why, h("h3", {}, verb), reasons.length ? h("ul", { class: "because" }, ...reasons) : h("p", { class: "quiet" }, why.text));
  }

  async #source(described) {
    const { name, pipeline, sourced } = this;
    this.sourcing?.abort();
    if (!described?.file) {
      fill(this.parts.source);
      return;
    }
    this.sourcing = new AbortController();
    try {
      const source = await ask("source", { node: name, pipeline }, this.sourcing.signal);
      if (this.name !== name || this.sourced !== sourced) return;
      fill(this.parts.source, h("h3", {}, "Source", source.revision ? h("span", { class: "quiet" }, ` of revision ${source.revision}`) : null),
        sourceLines(source), source.cut && h("p", { class: "quiet" }, "It is longer than this."));
    } catch (error) {
      if (this.name === name && this.sourced === sourced) fill(this.parts.source, h("p", { class: "quiet" }, error.message));
    }
  }

  #around() {
    const edges = this.model.pipeline?.graph?.edges ?? [];
    const list = (title, names) => names.length ? h("p", {}, h("span", { class: "quiet" }, `${title} `), ...names.slice(0, 30).flatMap((name) => [this.#link(name), " "]), names.length > 30 ? `and ${names.length - 30} more` : null) : null;
    fill(this.parts.around,
      list("Takes", edges.filter(([, to]) => to === this.name).map(([from]) => from)),
      list("Is taken by", edges.filter(([from]) => from === this.name).map(([, to]) => to)));
  }

  #output() {
    const lines = this.model.pipeline?.output.get(this.name);
    fill(this.parts.output, lines && h("h3", {}, "It printed"),
      lines && h("pre", { class: "code", tabIndex: 0 }, ...lines.map((line) => h("span", { class: line.isError ? "bad" : "" }, line.text))));
  }

  #link(name) {
    return h("button", { type: "button", class: "link", onclick: () => this.actions.open(name) }, name);
  }
}
