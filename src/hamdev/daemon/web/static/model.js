// What the daemon has said so far: pipelines with their nodes, problems and graphs.
//
// Nodes follow the events as the daemon's own view does (core/snapshot.py). Where events do not
// tell everything, the whole status is asked for again.

import { Runs } from "./runs.js";

const MAX_OUTPUT = 400;

/** One pipeline, as it stands. */
class Pipeline {
  constructor(name, status) {
    this.name = name;
    this.graph = null;
    this.layout = null;
    this.layoutProblem = "";
    this.output = new Map();
    this.take(status);
  }

  take(status) {
    Object.assign(this, { state: status.state, revision: status.revision, run: status.run });
    this.modules = status.modules;
    this.finalVars = new Set(status.final_vars);
    this.nodes = new Map(Object.entries(status.nodes));
    this.problems = status.problems;
  }

  /** Problems of the pipeline, and those of its nodes. */
  allProblems() {
    const ofNodes = [...this.nodes].filter(([, node]) => node.problem);
    const known = new Set(this.problems.filter((problem) => problem.node).map((problem) => problem.node));
    return [
      ...this.problems.filter((problem) => !problem.node || this.nodes.get(problem.node)?.problem),
      ...ofNodes.filter(([name]) => !known.has(name)).map(([name, node]) => ({ ...node.problem, node: node.problem.node ?? name })),
    ];
  }
}

/** All that the page shows. */
export class Model {
  constructor() {
    this.hello = null;
    this.revision = 0;
    this.seq = 0;
    this.statusSeq = 0;
    this.pipelines = new Map();
    this.chosen = null;
    this.runs = new Runs();
    this.warnings = [];
  }

  /** The pipeline that is shown. */
  get pipeline() {
    return this.pipelines.get(this.chosen) ?? null;
  }

  /**
   * Take in what the daemon said.
   * @returns {{nodes: Set<string>, all: boolean, unsure: boolean, certain: boolean,
   *   revisions: number[], started: boolean, composed: boolean, settings: boolean}} which nodes of the shown pipeline
   *   are to be drawn again; whether all are; whether the whole status should be asked for, or need
   *   not be after all; of which revisions lines changed; whether a run began, before which the graph
   *   was composed, or one ended; whether the settings were read, which may have mistakes.
   */
  take(batch) {
    const touched = { nodes: new Set(), all: false, unsure: false, certain: false, revisions: [], started: false, composed: false, settings: false };
    for (const { kind, data } of batch) {
      if (kind === "hello") this.#greet(data);
      else if (kind === "settings") touched.settings = true;
      else if (kind === "history") this.runs.takeHistory(data, this.hello.started);
      else this.#event(data, touched);
    }
    return touched;
  }

  /** How each node of the shown pipeline stands, also those that no run can compute. */
  everyNode() {
    const { graph, nodes } = this.pipeline ?? {};
    const drawn = (graph?.nodes ?? []).map(({ name, kind }) => [name, { state: kind === "function" ? "lacking" : "input" }]);
    return new Map([...drawn, ...(nodes ?? [])]);
  }

  /** When a node's value came to be, in seconds since 1970; undefined if that is not known. */
  timeOf(node) {
    return node?.at ?? this.runs.byKey.get(`${this.hello?.started}:${node?.run}`)?.time;
  }

  /** Take in a whole status; events that it knows of already will not count again. */
  takeStatus(status) {
    this.revision = Math.max(this.revision, status.revision);
    this.statusSeq = Math.max(this.statusSeq, status.seq);
    for (const [name, given] of Object.entries(status.pipelines)) {
      const known = this.pipelines.get(name);
      if (known) known.take(given);
      else this.pipelines.set(name, new Pipeline(name, given));
    }
    for (const name of [...this.pipelines.keys()]) {
      if (!(name in status.pipelines)) this.pipelines.delete(name);
    }
    if (!this.pipelines.has(this.chosen)) this.chosen = this.pipelines.keys().next().value ?? null;
  }

  #greet(hello) {
    if (hello.fresh && this.hello && this.hello.started !== hello.started) {
      // Numbers begin anew with a new daemon.
      this.revision = this.statusSeq = 0;
      this.warnings = [];
    }
    this.hello = hello;
  }

  #event(event, touched) {
    this.seq = event.seq;
    if (event.type !== "snapshot") this.runs.take(event, this.hello?.started);
    this.revision = Math.max(this.revision, event.revision);
    if (event.type === "snapshot") {
      this.takeStatus(event.snapshot);
      this.runs.endAbandoned(this.pipelines);
      touched.all = touched.composed = true;
      return;
    }
    if (event.type === "files.changed") {
      touched.revisions.push(event.revision);
      touched.unsure = true;
    }
    // Until another worker is there, values are not, which no event of a pipeline tells.
    if (event.type === "worker.lost") touched.unsure = true;
    if (event.type === "warning") this.#warn(event);
    const pipeline = this.pipelines.get(event.pipeline);
    if (!pipeline) {
      touched.unsure ||= event.pipeline !== undefined;
      return;
    }
    if (event.type === "output") this.#print(pipeline, event);
    if (event.seq <= this.statusSeq) return;
    const isShown = pipeline.name === this.chosen;
    if (isShown && event.node) touched.nodes.add(event.node);
    if (event.type === "run.started" && isShown) touched.all = touched.started = true;
    if (event.type === "run.finished") {
      const isLeftOver = this.#endRun(pipeline, event);
      touched.all ||= isShown && isLeftOver;
      touched.unsure ||= event.outcome !== "ok";
      touched.certain ||= event.outcome === "ok" && this.pipelines.size === 1;
      touched.composed ||= isShown;
      return;
    }
    this.#follow(pipeline, event, touched);
  }

  #follow(pipeline, event, touched) {
    const set = (changes) => {
      const before = pipeline.nodes.get(event.node) ?? { state: "queued" };
      pipeline.nodes.set(event.node, { ...before, ...changes });
    };
    const dated = { revision: event.revision, run: event.run };
    switch (event.type) {
      case "run.started":
        pipeline.output.clear();
        if (event.plan.length) this.#plan(pipeline, event);
        else touched.unsure = true;
        break;
      case "node.started":
        set({ state: "running" });
        break;
      case "node.finished":
        set({
          ...dated, state: "fresh", ms: event.ms, action: event.action, summary: event.summary,
          diff: event.diff, problem: undefined, at: event.time,
        });
        break;
      case "node.failed":
        set({ state: event.problem.kind === "node" ? "failed" : "blocked", problem: event.problem });
        break;
      case "node.blocked":
        set({ state: "blocked" });
        break;
      case "load.failed":
        pipeline.problems = event.problems;
        pipeline.state = "failed";
        touched.all = true;
        break;
    }
  }

  #plan(pipeline, event) {
    pipeline.state = "running";
    pipeline.run = event.run;
    pipeline.revision = event.revision;
    pipeline.problems = pipeline.problems.filter((problem) => problem.kind === "settings" || problem.kind === "watch");
    const before = pipeline.nodes;
    pipeline.nodes = new Map();
    for (const step of event.plan) {
      const known = before.get(step.node) ?? {};
      pipeline.nodes.set(
        step.node,
        step.action === "reuse"
          ? { ...known, state: "fresh", revision: event.revision, run: event.run, action: "reused", diff: undefined, problem: undefined }
          : { ...known, state: "queued", problem: undefined },
      );
    }
  }

  /** Whether nodes are left that the run did not get to. */
  #endRun(pipeline, event) {
    pipeline.state = event.outcome === "failed" ? "failed" : "idle";
    let unfinished = false;
    for (const [name, node] of pipeline.nodes) {
      if (node.state === "queued" || node.state === "running") {
        pipeline.nodes.set(name, { ...node, state: "stale" });
        unfinished = true;
      }
    }
    return unfinished;
  }

  #print(pipeline, event) {
    const key = event.node ?? "";
    const lines = pipeline.output.get(key) ?? [];
    lines.push({ text: event.text, isError: event.stream === "stderr" });
    if (lines.length > MAX_OUTPUT) lines.splice(0, lines.length - MAX_OUTPUT);
    pipeline.output.set(key, lines);
  }

  #warn(event) {
    this.warnings.push({ message: event.message, time: event.time, revision: event.revision });
    if (this.warnings.length > 20) this.warnings.shift();
  }
}
