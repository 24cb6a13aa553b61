// The last runs: what caused each, which nodes ran, which values changed, how it ended.

import { shortValue } from "./words.js";

const MAX_RUNS = 100;
const BLANK = new Set(["start", "worker", "clean"]);
// Because of these a node runs only since another one does.
const FOLLOWING = new Set(["input", "upstream", "unchanged"]);

/** Whether a run began without values, so that one need not have changed if no difference is known. */
export const isBlank = (run) => BLANK.has(run.cause.kind);

/** The runs of all pipelines, the newest first. */
export class Runs {
  constructor() {
    this.list = [];
    this.byKey = new Map();
    this.edits = new Map();
    this.version = 0;
  }

  /** The events of runs before the page was opened; numbers of runs are those of this `daemon`. */
  takeHistory({ events, edits }, daemon) {
    this.list = this.list.filter((run) => run.daemon !== daemon);
    this.byKey = new Map(this.list.map((run) => [run.key, run]));
    for (const [revision, files] of Object.entries(edits)) this.takeEdits(Number(revision), files, daemon);
    for (const event of events) this.take(event, daemon);
  }

  /** The lines that a revision changed. */
  takeEdits(revision, files, daemon) {
    this.edits.set(`${daemon}:${revision}`, files);
    if (this.edits.size > MAX_RUNS) this.edits.delete(this.edits.keys().next().value);
    this.version += 1;
    for (const run of this.list) if (run.daemon === daemon && run.revision === revision) run.version += 1;
  }

  /** The lines that made a run necessary, file by file; null if nobody knows them. */
  editsOf(run) {
    return this.edits.get(`${run.daemon}:${run.revision}`) ?? null;
  }

  /**
   * Where the code of a node was changed: `file` and the first `line`; null if it was not.
   * @param {object | null} graph of its pipeline, which knows where the next function begins.
   */
  originOf(run, node, graph) {
    const reason = run.roots.get(node)?.find(({ file }) => file);
    if (!reason || run.cause.kind !== "save") return null;
    const { file, line: start = 0 } = reason;
    const edit = this.editsOf(run)?.find((other) => other.file === file);
    const end = Math.min(...(graph?.nodes ?? []).filter((other) => other.file === file && other.line > start).map(({ line }) => line));
    const hunk = edit?.hunks.find(({ line, after, more }) => line < end && line + Math.max(after.length + more, 1) > start);
    if (hunk) return { file, line: Math.max(hunk.line, start) };
    // One that had no value, since it had failed, say, is run again whatever was saved.
    if (reason.kind === "new" && edit && !edit.more) return null;
    return { file, line: reason.line };
  }

  /** The newest run of a pipeline. */
  newest(pipeline) {
    return this.list.find((run) => run.pipeline === pipeline) ?? null;
  }

  take(event, daemon) {
    if (event.run === undefined) return;
    const key = `${daemon}:${event.run}`;
    if (event.type === "run.started") {
      this.#start(key, event, daemon);
      return;
    }
    const run = this.byKey.get(key);
    if (!run) return;
    run.version += 1;
    this.version += 1;
    switch (event.type) {
      case "node.finished":
        if (event.action === "ran") run.ran.set(event.node, event.ms);
        if (event.changed && (event.diff || !isBlank(run))) run.changed.set(event.node, { diff: event.diff ?? null, value: shortValue(event.summary) });
        break;
      case "node.failed":
        run.failed.set(event.node, event.problem);
        break;
      case "load.failed":
        run.problems = event.problems;
        break;
      case "run.finished":
        Object.assign(run, { outcome: event.outcome, ms: event.ms, reused: event.reused, ranCount: event.ran });
        break;
    }
  }

  /** Runs whose end was missed have ended nevertheless. */
  endAbandoned(pipelines) {
    for (const run of this.list) {
      const state = pipelines.get(run.pipeline);
      if (!run.outcome && !(state?.state === "running" && state.run === run.run)) {
        run.outcome = "unknown";
        run.version += 1;
        this.version += 1;
      }
    }
  }

  #start(key, event, daemon) {
    const plan = event.plan ?? [];
    const roots = new Map();
    for (const step of plan) {
      if (step.action !== "run") continue;
      const own = step.because.filter((because) => !FOLLOWING.has(because.kind));
      if (own.length) roots.set(step.node, own);
    }
    const run = {
      key, daemon, run: event.run, pipeline: event.pipeline, revision: event.revision,
      time: event.time, cause: event.cause, roots,
      planned: plan.filter((step) => step.action === "run").length,
      ran: new Map(), changed: new Map(), failed: new Map(), problems: [],
      outcome: null, ms: null, reused: null, version: 1,
    };
    this.byKey.set(key, run);
    this.list.unshift(run);
    while (this.list.length > MAX_RUNS) this.byKey.delete(this.list.pop().key);
    this.version += 1;
  }
}
