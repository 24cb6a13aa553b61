// Moving and zooming a drawing with mouse, fingers, wheel and keys.

const MIN_SCALE = 0.04;
const MAX_SCALE = 3;
// Buttons are above the drawing, and signs are explained below it.
const MARGIN = { left: 28, right: 28, top: 54, bottom: 40 };
const FAR_SCALE = 0.42;

/** What part of a drawing is seen. */
export class Viewport {
  /**
   * @param {SVGSVGElement} svg the window.
   * @param {SVGGElement} scene what is moved in it.
   */
  constructor(svg, scene) {
    this.svg = svg;
    this.scene = scene;
    this.bounds = { width: 1, height: 1 };
    this.x = this.y = 0;
    this.scale = 1;
    this.isFitted = true;
    this.pointers = new Map();
    svg.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    svg.addEventListener("pointerdown", (event) => this.#down(event));
    svg.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      svg.addEventListener(end, (event) => this.#up(event));
    }
    new ResizeObserver(() => this.isFitted && this.fit()).observe(svg);
  }

  /** Show the whole drawing. */
  fit() {
    const { clientWidth: width, clientHeight: height } = this.svg;
    if (!width || !height) return;
    const room = Math.min((width - MARGIN.left - MARGIN.right) / this.bounds.width, (height - MARGIN.top - MARGIN.bottom) / this.bounds.height);
    this.scale = Math.min(1.15, Math.max(MIN_SCALE, room));
    this.x = (width - this.bounds.width * this.scale) / 2;
    this.y = (height + MARGIN.top - MARGIN.bottom - this.bounds.height * this.scale) / 2;
    this.isFitted = true;
    this.#apply();
  }

  /** Zoom around a point of the window, by default its middle. */
  zoom(factor, x = this.svg.clientWidth / 2, y = this.svg.clientHeight / 2) {
    const scale = Math.min(MAX_SCALE, Math.max(MIN_SCALE, this.scale * factor));
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.isFitted = false;
    this.#apply();
  }

  /** Move as little as shows this box, which is readable then. */
  reveal({ x, y, width, height }) {
    const { clientWidth, clientHeight } = this.svg;
    if (!clientWidth) return;
    if (this.scale < FAR_SCALE) {
      this.scale = 0.8;
      this.x = clientWidth / 2 - (x + width / 2) * this.scale;
      this.y = clientHeight / 2 - (y + height / 2) * this.scale;
    } else {
      this.x += overlap(this.x + x * this.scale, width * this.scale, MARGIN.left, clientWidth - MARGIN.right);
      this.y += overlap(this.y + y * this.scale, height * this.scale, MARGIN.top, clientHeight - MARGIN.bottom);
    }
    this.isFitted = false;
    this.#apply();
  }

  /** Move by so much of the window. */
  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.isFitted = false;
    this.#apply();
  }

  #apply() {
    const { x, y, scale } = this;
    this.scene.setAttribute("transform", `translate(${x.toFixed(2)} ${y.toFixed(2)}) scale(${scale.toFixed(4)})`);
    this.svg.classList.toggle("far", scale < FAR_SCALE);
  }

  #wheel(event) {
    event.preventDefault();
    const { left, top } = this.svg.getBoundingClientRect();
    const step = event.deltaMode === 1 ? 20 : 1;
    this.zoom(Math.exp(-event.deltaY * step * (event.ctrlKey ? 0.01 : 0.0016)), event.clientX - left, event.clientY - top);
  }

  #down(event) {
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    this.moved = 0;
  }

  #move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = { x: event.clientX, y: event.clientY };
    const others = [...this.pointers.entries()].filter(([id]) => id !== event.pointerId);
    this.pointers.set(event.pointerId, now);
    this.moved += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
    if (this.moved < 4) return;
    // From here on it is no click any more.
    if (!this.svg.hasPointerCapture(event.pointerId)) this.svg.setPointerCapture(event.pointerId);
    if (others.length === 1) {
      const { left, top } = this.svg.getBoundingClientRect();
      const other = others[0][1];
      const apart = (point) => Math.hypot(point.x - other.x, point.y - other.y) || 1;
      this.zoom(apart(now) / apart(before), (now.x + other.x) / 2 - left, (now.y + other.y) / 2 - top);
    } else if (others.length === 0) {
      this.pan(now.x - before.x, now.y - before.y);
    }
  }

  #up(event) {
    this.pointers.delete(event.pointerId);
  }
}

/** How far something of this length has to move to be between two places. */
function overlap(start, length, from, to) {
  if (start < from) return from - start;
  const beyond = start + length - to;
  return beyond > 0 ? -Math.min(beyond, start - from) : 0;
}
