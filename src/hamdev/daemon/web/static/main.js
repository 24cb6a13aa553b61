// The page: joins the link to the daemon, what is known, and the views of it.

import { ChangesView } from "./changes.js";
import { ask, Connection, RequestError } from "./connection.js";
import { DetailView } from "./detail.js";
import { byId, fill, glyph, h, toast } from "./dom.js";
import { GraphView } from "./graph.js";
import { NodesView, ProblemsView } from "./lists.js";
import { Model } from "./model.js";
import { Search } from "./search.js";
import { plural, STATES, timeOfDay } from "./words.js";

const UNSURE_MS = 120;
const LATER_MS = 250;
const INTERNAL_ERROR = -32603;
const TABS = ["changes", "problems", "nodes", "dag"];
const KEYS = [
  ["/", "find a node"], ["g", "to the graph"], ["← ↑ → ↓", "along the edges, and beside"], ["Enter", "show a node"],
  ["Esc", "back"], ["1 2 3", "changes, problems, nodes"], ["r", "rerun all"], ["c", "clean: forget all, new worker"], ["x", "cancel the run"],
  ["+ − 0", "zoom in, out, show all"], ["w", "wider details"], ["?", "this help"],
];

const model = new Model();
const graph = new GraphView(byId("graph"), (name) => open(name));
const changes = new ChangesView(byId("changes"), model, (name) => open(name));
const problems = new ProblemsView(byId("problems"), model, (name) => open(name), ask);
const nodes = new NodesView(byId("nodes"), model, (name) => open(name));
const detail = new DetailView(byId("detail"), model, {
  open: (name) => open(name), close: () => close(), rerun: (names) => rerun({ nodes: names }), widen: () => byId("main").classList.toggle("wide"),
});
const search = new Search(() => model.everyNode(), (name) => open(name), (names) => graph.filter(names));
let before = null;
let shown = null;
let asked = 0;
let link = { state: "connecting" };

// -- what the daemon says ----------------------------------------------------------------------

const connection = new Connection((batch) => {
  const touched = model.take(batch);
  for (const revision of touched.revisions) learnEdits(revision);
  if (touched.certain) clearTimeout(waiting.get("status"));
  else if (touched.unsure) soon("status", askStatus, UNSURE_MS);
  if (touched.settings) soon("settings", askStatus, UNSURE_MS);
  // The daemon's time belongs to the next save first.
  if (touched.composed) soon("graph", learnGraph, needsGraph() ? 0 : LATER_MS);
  else if (touched.started && needsGraph()) soon("graph", learnGraph, LATER_MS);
  show(touched.all ? null : touched.nodes);
  markPainted();
}, (changed) => {
  const wasLost = link.state === "lost";
  // Only the first notice of a loss knows when that was.
  link = changed.state === "lost" && wasLost ? { ...link, text: changed.text || link.text } : changed;
  showLink();
  if (wasLost && link.state === "live") {
    // What was asked for meanwhile has got no answer.
    detail.reload();
    if (!model.pipeline?.layout) learnGraph();
  }
});

const waiting = new Map();

/** Do it in a moment, once, however often it is asked for until then. */
function soon(name, action, ms) {
  clearTimeout(waiting.get(name));
  waiting.set(name, setTimeout(action, ms));
}

async function askStatus() {
  const status = await quietly(ask("status"));
  if (!status) return;
  if (status.seq < model.seq) {
    // Events have overtaken it, and what they said is newer.
    soon("status", askStatus, UNSURE_MS);
    return;
  }
  model.takeStatus(status);
  if (needsGraph()) learnGraph();
  show(null);
}

async function learnEdits(revision) {
  const { started } = model.hello;
  const found = await quietly(ask("edits", { revision }));
  if (!found?.files) return;
  model.runs.takeEdits(revision, found.files, started);
  changes.update();
  const run = model.runs.newest(model.chosen);
  if (graph.layout && run?.revision === revision) showGraph(run.roots.keys());
}

function needsGraph() {
  const { pipeline } = model;
  if (!pipeline?.graph) return Boolean(pipeline?.nodes.size);
  const known = new Set(pipeline.graph.nodes.map((node) => node.name));
  return [...pipeline.nodes.keys()].some((name) => !known.has(name));
}

async function learnGraph() {
  const { pipeline } = model;
  if (!pipeline) return;
  clearTimeout(waiting.get("graph"));
  const of = { pipeline: pipeline.name };
  const turn = (asked += 1);
  const found = await quietly(ask("graph", of));
  if (!found || model.pipeline !== pipeline || turn < pipeline.graphTurn) return;
  pipeline.graphTurn = turn;
  const structure = JSON.stringify([found.nodes.map((node) => node.name), found.edges]);
  pipeline.graph = found;
  if (pipeline.structure !== structure) {
    pipeline.structure = structure;
    pipeline.layoutProblem = "";
    try {
      pipeline.layout = await ask("layout", of);
    } catch (error) {
      if (pipeline.structure !== structure) return;
      pipeline.layout = null;
      // Only what was said of this very graph is the end of it.
      if (error instanceof RequestError && error.code === INTERNAL_ERROR) pipeline.layoutProblem = error.message;
      else pipeline.structure = null;
    }
    if (model.pipeline === pipeline && (pipeline.structure ?? structure) === structure) draw();
  } else if (graph.layout) {
    // Its functions may begin at other lines.
    graph.graph = found;
    showGraph(model.runs.newest(pipeline.name)?.roots.keys() ?? []);
  }
  detail.update();
}

async function quietly(promise) {
  try {
    return await promise;
  } catch {
    return null; // it is asked for again with the next event, or the link is lost, which is shown
  }
}

// -- what is shown -----------------------------------------------------------------------------

function draw() {
  const { pipeline } = model;
  if (pipeline?.layout) {
    graph.draw(pipeline.layout, pipeline.graph);
    showGraph(pipeline.nodes.keys());
    for (const { name } of pipeline.graph.nodes) if (!pipeline.nodes.has(name)) showGraph([name]);
    graph.select(detail.name);
    if (detail.name === null) graph.viewport.fit();
  } else graph.clear();
  const waiting = pipeline ? "The DAG is shown as soon as the modules have been loaded." : "No pipeline is served.";
  const text = pipeline?.layoutProblem || (pipeline?.layout ? "" : waiting);
  byId("dag-empty").textContent = pipeline?.layout && !pipeline.graph.nodes.length ? "This pipeline has no nodes." : text;
}

function showGraph(names) {
  const run = model.runs.newest(model.chosen);
  graph.update(names, model.pipeline.nodes, run, model.runs);
  graph.markPath(run);
}

/** Show what is known now; `names`: of nodes that changed, null: all. */
function show(names) {
  const { pipeline } = model;
  showHead();
  if (pipeline !== shown || names === null && !pipeline) {
    shown = pipeline;
    shut();
    draw();
  }
  changes.update();
  if (!pipeline) return;
  const run = model.runs.newest(pipeline.name);
  const isOther = run?.key !== before;
  before = run?.key;
  const touched = names === null || isOther ? pipeline.nodes.keys() : names;
  if (pipeline.layout && graph.layout) showGraph(touched);
  nodes.update(names === null || isOther ? null : names);
  showTab("problems", "Problems", problems.update());
  if (names === null || names.has(detail.name)) detail.update();
}

function showHead() {
  const { pipeline, hello } = model;
  byId("project").textContent = hello?.project ?? "";
  byId("project").title = hello?.root ?? "";
  const names = [...model.pipelines.keys()];
  const pick = byId("pipeline");
  if ([...pick.options].map((option) => option.value).join("\n") !== names.join("\n")) {
    fill(pick, ...names.map((name) => h("option", { value: name }, name)));
  }
  if (model.chosen && pick.value !== model.chosen) pick.value = model.chosen;
  byId("pick").hidden = names.length < 2;
  if (!pipeline) return;
  const count = pipeline.allProblems().length;
  const isRunning = pipeline.state === "running" || pipeline.state === "starting";
  const run = model.runs.newest(pipeline.name);
  const done = run && !run.outcome && run.planned ? ` ${run.ran.size} of ${run.planned}` : "";
  // Such as after a run that was cancelled.
  const behind = [...pipeline.nodes.values()].filter(({ state }) => state !== "fresh").length;
  const rest = behind ? `${plural(behind, "node")} not up to date` : "up to date";
  const words = isRunning ? (pipeline.state === "starting" ? "starting" : `running${done}`) : count ? plural(count, "problem") : rest;
  const sign = isRunning ? "running" : count ? "failed" : behind ? "stale" : "fresh";
  const revision = `revision ${pipeline.revision}`;
  const text = `${sign}|${words}|${revision}`;
  if (byId("state").dataset.shown !== text) {
    byId("state").dataset.shown = text;
    byId("state").className = `state ${sign}`;
    fill(byId("state"), glyph(sign), h("b", {}, words), h("span", { class: "quiet" }, ` ${revision}`));
    document.title = `${{ running: "…", failed: "✗", stale: "○", fresh: "✓" }[sign]} ${hello?.project ?? ""} · hamdev`;
  }
  byId("cancel").hidden = pipeline.state !== "running";
}

function showLink() {
  const isLost = link.state === "lost";
  document.body.classList.toggle("lost", isLost);
  const banner = byId("banner");
  banner.hidden = !isLost;
  if (isLost) {
    const since = timeOfDay(link.since);
    const what = model.revision ? ` This shows revision ${model.revision}, which may be old.` : "";
    const how = link.text || "It connects by itself as soon as the daemon is back (hamdev watch).";
    banner.textContent = `Not connected since ${since}.${what} ${how}`;
  }
}

/** When what was known last has been painted, for those who measure that. */
function markPainted() {
  const { seq, revision } = model;
  const channel = new MessageChannel();
  channel.port1.onmessage = () => {
    Object.assign(document.documentElement.dataset, { seq, revision });
    performance.clearMarks("painted");
    performance.mark("painted", { detail: { seq, revision } });
    channel.port1.close();
  };
  // A message that is posted while a frame is made arrives after it was painted.
  channel.port2.postMessage(null);
}

function showTab(id, title, count) {
  fill(byId(`tab-${id}`), title, count ? " " : null, count ? h("span", { class: "count" }, count) : null);
}

// -- what people do ----------------------------------------------------------------------------

function open(name) {
  if (!model.pipeline) return;
  byId("main").classList.add("with-detail");
  byId("side").hidden = true;
  detail.open(name);
  graph.select(name);
  if (!byId("graph").contains(document.activeElement)) byId("detail").focus({ preventScroll: true });
}

function shut() {
  detail.close();
  byId("side").hidden = false;
  byId("main").classList.remove("with-detail", "wide");
  graph.select(null);
}

function close() {
  const { name } = detail;
  shut();
  if (name !== null && getComputedStyle(byId("dag")).display !== "none") graph.focus(name);
  else byId("side").focus({ preventScroll: true });
}

function choose(tab) {
  for (const id of TABS) {
    const isChosen = id === tab;
    byId(`tab-${id}`).setAttribute("aria-selected", String(isChosen));
    byId(`tab-${id}`).tabIndex = isChosen ? 0 : -1;
    if (id !== "dag") byId(id).hidden = !isChosen;
  }
  byId("main").classList.toggle("shows-dag", tab === "dag");
  if (tab === "dag") graph.viewport.fit();
}

async function act(method, params, text) {
  try {
    await ask(method, params);
    toast(text);
  } catch (error) {
    toast(error instanceof RequestError ? error.message : "The daemon does not answer.");
  }
}

function rerun({ nodes: names, clean } = {}) {
  const all = clean ? "Everything is forgotten and runs in a new worker." : "Every node runs again.";
  const params = { pipeline: model.chosen, ...(names && { nodes: names }), ...(clean && { clean }) };
  act("rerun", params, names ? `${names.join(", ")} runs again.` : all);
}

function listen(id, event, action) {
  byId(id).addEventListener(event, action);
}

listen("rerun", "click", () => rerun());
listen("clean", "click", () => rerun({ clean: true }));
listen("cancel", "click", () => act("cancel", {}, "The run is being cancelled."));
listen("zoom-in", "click", () => graph.viewport.zoom(1.3));
listen("zoom-out", "click", () => graph.viewport.zoom(1 / 1.3));
listen("zoom-fit", "click", () => graph.viewport.fit());
listen("help-open", "click", () => byId("help").showModal());
listen("pipeline", "change", (event) => {
  model.chosen = event.target.value;
  show(null);
  learnGraph();
});
for (const id of TABS) listen(`tab-${id}`, "click", () => choose(id));
document.querySelector("[role=tablist]").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step) return;
  const seen = TABS.filter((id) => byId(`tab-${id}`).offsetParent !== null);
  const now = seen.findIndex((id) => byId(`tab-${id}`).getAttribute("aria-selected") === "true");
  const next = seen[(now + step + seen.length) % seen.length];
  choose(next);
  byId(`tab-${next}`).focus();
  event.preventDefault();
});

const SHORTCUTS = {
  "/": () => search.focus(), "?": () => byId("help").showModal(), g: () => graph.focus(),
  1: () => back("changes"), 2: () => back("problems"), 3: () => back("nodes"),
  r: () => rerun(), c: () => rerun({ clean: true }), x: () => byId("cancel").hidden || byId("cancel").click(),
  "+": () => graph.viewport.zoom(1.3), "-": () => graph.viewport.zoom(1 / 1.3), 0: () => graph.viewport.fit(),
  w: () => detail.name !== null && byId("main").classList.toggle("wide"),
  Escape: () => detail.name !== null && close(),
};

function back(tab) {
  if (detail.name !== null) close();
  choose(tab);
  byId(`tab-${tab}`).focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  if (event.target.closest("input, select, textarea")) return;
  const action = SHORTCUTS[event.key];
  if (!action) return;
  event.preventDefault();
  // Of a key that is held down, once is meant.
  if (event.repeat && "rcx".includes(event.key)) return;
  action();
});

fill(byId("keys"), ...KEYS.flatMap(([key, text]) => [h("dt", {}, ...key.split(" ").map((part) => h("kbd", {}, part))), h("dd", {}, text)]));
fill(byId("legend"), ...Object.keys(STATES).map((state) => h("li", {}, glyph(state), state)));
choose("changes");
addEventListener("pagehide", () => connection.source?.close());
