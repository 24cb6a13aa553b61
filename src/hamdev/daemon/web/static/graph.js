// The DAG as one SVG: drawn once for each structure, and then only nodes that changed are touched.

import { fill, s } from "./dom.js";
import { Viewport } from "./viewport.js";
import { fileName, firstChange, shortValue, standing } from "./words.js";

const NAME_FONT = "600 12.5px system-ui, sans-serif";
const VALUE_FONT = "11.5px system-ui, sans-serif";
const CHANGED_FONT = "600 11.5px system-ui, sans-serif";
const BADGE_FONT = "600 10.5px system-ui, sans-serif";
const LEFT = 28;
const RIGHT = 10;
const TWO_LINES = 34;

/** The drawing of one pipeline's DAG. */
export class GraphView {
  /**
   * @param {SVGSVGElement} svg where to draw.
   * @param {(name: string) => void} onOpen somebody wants to see a node.
   */
  constructor(svg, onOpen) {
    this.svg = svg;
    this.onOpen = onOpen;
    this.edges = s("g", { class: "edges", "aria-hidden": "true" });
    this.boxes = s("g", { class: "nodes" });
    this.scene = s("g", {}, this.edges, this.boxes);
    fill(svg, arrow(), this.scene);
    this.viewport = new Viewport(svg, this.scene);
    this.drawn = new Map();
    this.current = null;
    this.selected = null;
    svg.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Draw a graph from scratch. */
  draw(layout, graph) {
    const hadFocus = this.svg.contains(document.activeElement);
    this.layout = layout;
    this.graph = graph;
    this.drawn.clear();
    this.upstream = new Map();
    this.downstream = new Map();
    for (const { from, to } of layout.edges) {
      push(this.upstream, to, from);
      push(this.downstream, from, to);
    }
    const kinds = new Map(graph.nodes.map((node) => [node.name, node.kind]));
    const boxes = [];
    for (const [name, box] of Object.entries(layout.nodes)) boxes.push(this.#box(name, box, kinds.get(name)));
    this.lines = new Map();
    const lines = layout.edges.map(({ from, to, points }) => {
      const line = s("path", { d: curve(points), "marker-end": "url(#arrow)" });
      push(this.lines, from, line);
      push(this.lines, to, line);
      line.ends = [from, to];
      return line;
    });
    this.edges.replaceChildren(...lines);
    this.boxes.replaceChildren(...boxes);
    this.isVertical = layout.direction !== "LR";
    this.viewport.bounds = layout;
    this.viewport.fit();
    if (!this.drawn.has(this.current)) this.current = this.drawn.keys().next().value ?? null;
    this.#tabStop(this.current);
    if (hadFocus) this.drawn.get(this.current)?.element.focus();
  }

  /** Forget the drawing. */
  clear() {
    this.drawn.clear();
    this.edges.replaceChildren();
    this.boxes.replaceChildren();
    this.layout = null;
  }

  /**
   * Show how nodes stand.
   * @param {Iterable<string>} names those that changed.
   * @param {Map<string, object>} nodes all statuses.
   * @param {object | null} run the newest run.
   * @param {import("./runs.js").Runs} runs
   */
  update(names, nodes, run, runs) {
    for (const name of names) {
      const drawn = this.drawn.get(name);
      if (drawn) this.#show(drawn, nodes.get(name), run, run && runs.originOf(run, name, this.graph));
    }
  }

  /** Mark what the newest run changed: the nodes, and the edges between them. */
  markPath(run) {
    for (const line of this.edges.children) {
      const [from, to] = line.ends;
      const isPath = Boolean(run?.changed.has(from) && (run.changed.has(to) || run.ran.has(to)) && run.cause.kind !== "start");
      if (line.isPath !== isPath) {
        line.isPath = isPath;
        line.classList.toggle("path", isPath);
      }
    }
  }

  /** Mark the node whose details are shown. */
  select(name) {
    this.drawn.get(this.selected)?.element.classList.remove("selected");
    for (const line of this.lines?.get(this.selected) ?? []) line.classList.remove("near");
    this.selected = name;
    const drawn = this.drawn.get(name);
    if (!drawn) return;
    drawn.element.classList.add("selected");
    for (const line of this.lines.get(name) ?? []) line.classList.add("near");
    this.#tabStop(name);
    this.viewport.reveal(drawn.box);
  }

  /** Let only these stand out; null: all. */
  filter(names) {
    this.svg.classList.toggle("filtered", names !== null);
    for (const [name, { element }] of this.drawn) element.classList.toggle("match", names?.has(name) ?? false);
  }

  /** Put the keyboard's focus on a node. */
  focus(name = this.current) {
    const drawn = this.drawn.get(name);
    if (!drawn) return;
    this.#tabStop(name);
    this.viewport.reveal(drawn.box);
    drawn.element.focus({ preventScroll: true });
  }

  #box(name, [x, y, width, height], kind) {
    const hasValue = height >= TWO_LINES;
    const title = s("text", { class: "name", x: LEFT, y: hasValue ? 17 : height / 2 + 4.5 }, shortened(name, NAME_FONT, width - LEFT - RIGHT));
    const value = s("text", { class: "value", x: LEFT, y: 32 });
    const sign = s("use", { href: "#glyph-queued", x: 7, y: hasValue ? 5 : height / 2 - 8, width: 16, height: 16 });
    const tip = s("title", {}, name);
    const element = s(
      "g",
      { class: "node", transform: `translate(${x} ${y})`, tabindex: -1, role: "button", "data-node": name },
      tip, s("rect", { width, height, rx: 8 }), sign, title, hasValue ? value : null,
    );
    element.addEventListener("click", () => { if (!(this.viewport.moved >= 4)) this.onOpen(name); });
    element.addEventListener("focus", () => { this.current = name; });
    const drawn = { name, element, value: hasValue ? value : null, sign, tip, kind, box: { x, y, width, height }, shown: "" };
    this.drawn.set(name, drawn);
    return element;
  }

  #show(drawn, node, run, origin) {
    const state = node?.state ?? (drawn.kind === "function" ? "lacking" : "input");
    const isNew = run && run.cause.kind !== "start";
    const isChanged = Boolean(isNew && run.changed.has(drawn.name) && state === "fresh");
    const isRoot = Boolean(isNew && run.roots.has(drawn.name));
    const place = origin ? `✎ ${fileName(origin.file)}:${origin.line}` : "";
    const hasRun = Boolean(isNew && run.ran.has(drawn.name));
    const diff = isChanged ? node.diff ?? run.changed.get(drawn.name).diff : null;
    const text = diff ? firstChange(diff) : shortValue(node?.summary);
    const shown = `${state}|${isChanged}|${isRoot}|${hasRun}|${text}|${place}`;
    if (drawn.shown === shown) return;
    drawn.shown = shown;
    const { element } = drawn;
    element.setAttribute("class", [
      "node", state, isChanged && "changed", isRoot && "root", hasRun && "ran",
      drawn.name === this.selected && "selected", element.classList.contains("match") && "match",
    ].filter(Boolean).join(" "));
    drawn.sign.setAttribute("href", `#glyph-${state}`);
    const said = `${drawn.name}: ${standing(state, node) ?? "given from outside"}${text ? `; ${text}` : ""}`;
    element.setAttribute("aria-label", said);
    drawn.tip.textContent = said;
    this.#badge(drawn, place);
    if (drawn.value) drawn.value.textContent = shortened(text, isChanged ? CHANGED_FONT : VALUE_FONT, drawn.box.width - LEFT - RIGHT);
  }

  /** Which line made it another node. */
  #badge(drawn, text) {
    drawn.badge?.remove();
    drawn.badge = null;
    if (!text) return;
    const width = measured(text, BADGE_FONT) + 14;
    drawn.badge = s("g", { class: "badge", transform: `translate(${(drawn.box.width - width) / 2} -13)` },
      s("rect", { width, height: 17, rx: 8.5 }), s("text", { x: width / 2, y: 12.5, "text-anchor": "middle" }, text));
    drawn.element.append(drawn.badge);
  }

  #tabStop(name) {
    this.drawn.get(this.stop)?.element.setAttribute("tabindex", -1);
    this.drawn.get(name)?.element.setAttribute("tabindex", 0);
    this.current = this.stop = name;
  }

  #key(event) {
    const name = event.target.dataset?.node;
    if (!name || event.ctrlKey || event.metaKey || event.altKey) return;
    const [back, forward, before, after] = this.isVertical
      ? ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"]
      : ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"];
    let next;
    if (event.key === "Enter" || event.key === " ") this.onOpen(name);
    else if (event.key === back) next = this.#nearest(name, this.upstream.get(name));
    else if (event.key === forward) next = this.#nearest(name, this.downstream.get(name));
    else if (event.key === before) next = this.#beside(name, -1);
    else if (event.key === after) next = this.#beside(name, 1);
    else if (event.key === "Home") next = this.drawn.keys().next().value;
    else if (event.key === "End") next = [...this.drawn.keys()].pop();
    else return;
    event.preventDefault();
    event.stopPropagation();
    if (next) this.focus(next);
  }

  #nearest(name, names = []) {
    const here = middle(this.drawn.get(name).box);
    const far = (other) => { const there = middle(this.drawn.get(other).box); return Math.hypot(there.x - here.x, there.y - here.y); };
    return names.filter((other) => this.drawn.has(other)).sort((a, b) => far(a) - far(b))[0];
  }

  /** The next node in the same rank. */
  #beside(name, direction) {
    const [across, along] = this.isVertical ? ["x", "y"] : ["y", "x"];
    const here = middle(this.drawn.get(name).box);
    const distance = (there) => Math.abs(there[across] - here[across]) + 4 * Math.abs(there[along] - here[along]);
    let best;
    for (const { name: other, box } of this.drawn.values()) {
      const there = middle(box);
      if (other === name || Math.sign(there[across] - here[across]) !== direction) continue;
      if (!best || distance(there) < distance(best.there)) best = { other, there };
    }
    return best?.other;
  }
}

function arrow() {
  const shape = s("path", { d: "M0 0 8 4 0 8z" });
  const box = { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse", markerUnits: "userSpaceOnUse" };
  return s("defs", {}, s("marker", box, shape));
}

function curve(points) {
  const at = ([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`;
  const [start, ...rest] = points;
  let path = `M${at(start)}`;
  for (let i = 0; i + 2 < rest.length; i += 3) path += `C${at(rest[i])} ${at(rest[i + 1])} ${at(rest[i + 2])}`;
  return path;
}

const middle = ({ x, y, width, height }) => ({ x: x + width / 2, y: y + height / 2 });

function push(map, key, value) {
  const known = map.get(key);
  if (known) known.push(value);
  else map.set(key, [value]);
}

const paper = document.createElement("canvas").getContext("2d");
const widths = new Map();

function measured(text, font) {
  const key = `${font}|${text}`;
  if (!widths.has(key)) {
    if (widths.size > 5000) widths.clear();
    paper.font = font;
    widths.set(key, paper.measureText(text).width);
  }
  return widths.get(key);
}

/** A text as far as it fits. */
function shortened(text, font, room) {
  const whole = measured(text, font);
  if (whole <= room) return text;
  let end = Math.max(1, Math.floor((text.length * room) / whole));
  while (end > 1 && measured(`${text.slice(0, end)}…`, font) > room) end -= 1;
  return `${text.slice(0, end)}…`;
}
