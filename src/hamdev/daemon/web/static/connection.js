// The link to the daemon: requests, and events for as long as it lives and again when it is back.
//
// Another process may get the daemon's port after its end. So before the page sends its cookie
// there again, whoever answers has to prove that it knows what only the daemon knows.

const PROBE_MS = 700;
const PROBE_LIMIT_MS = 3000;
const PATIENCE_BEATS = 2.5;
// A browser has six connections for a host. A tab that nobody looks at needs none.
const HIDDEN_MS = 30_000;

/** An answer of the daemon that is an error. */
export class RequestError extends Error {
  constructor({ code, message, data }) {
    super(message);
    this.code = code;
    this.data = data;
  }
}

// Whether it is known that the daemon is who answers here.
let isLive = false;

/** Rejects while it is not known who answers, for nobody else may be sent the cookie. */
export async function linked() {
  if (!isLive) throw new Error("There is no link to the daemon.");
}

/** Ask the daemon, unless `signal` ends that; rejects with `RequestError`, or if nobody answers. */
export async function ask(method, params = {}, signal = null) {
  await linked();
  const response = await fetch("api", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ method, params }),
    signal,
  });
  if (!response.ok) throw new Error(await response.text());
  const answer = await response.json();
  if (answer.error) throw new RequestError(answer.error);
  return answer.result;
}

/** Follows the daemon's events. */
export class Connection {
  /**
   * @param {(batch: {kind: string, data: object}[]) => void} onBatch once an animation frame.
   * @param {(link: {state: string, since?: number, text?: string}) => void} onLink when it changes.
   */
  constructor(onBatch, onLink) {
    this.onBatch = onBatch;
    this.onLink = onLink;
    this.seq = null;
    this.proofKey = null;
    this.beat = 10;
    this.batch = [];
    this.scheduled = false;
    document.addEventListener("visibilitychange", () => this.#seen());
    this.#open();
  }

  #open() {
    const address = this.seq === null ? "events" : `events?since=${this.seq}`;
    const source = (this.source = new EventSource(address));
    const take = (kind) => (message) => {
      if (source !== this.source) return;
      this.#heard();
      if (message.lastEventId) this.seq = Number(message.lastEventId);
      const data = JSON.parse(message.data);
      if (kind === "hello") this.#greeted(data);
      if (kind !== "beat") this.#take({ kind, data });
    };
    for (const kind of ["hello", "history", "message", "settings", "beat"]) {
      source.addEventListener(kind, take(kind));
    }
    source.addEventListener("error", () => {
      if (source === this.source) this.#lost("");
    });
    this.#heard();
  }

  #greeted(hello) {
    this.proofKey = hello.proof_key;
    this.beat = hello.beat_s;
    isLive = true;
    this.onLink({ state: "live" });
  }

  #heard() {
    this.lastHeard = Date.now();
    clearTimeout(this.silence);
    const limit = this.beat * PATIENCE_BEATS * 1000;
    this.silence = setTimeout(() => this.#lost("The daemon does not answer."), limit);
  }

  #close() {
    isLive = false;
    clearTimeout(this.silence);
    this.source?.close();
    this.source = null;
  }

  #lost(text) {
    this.#close();
    this.onLink({ state: "lost", since: this.lastHeard / 1000, text });
    this.#probe();
  }

  async #probe() {
    clearTimeout(this.probing);
    const verdict = await this.#isDaemon();
    if (this.source || this.isPaused) return;
    if (verdict === true) {
      this.#open();
      return;
    }
    if (verdict === false) {
      const text = "Another process answers here now. Open the address that 'hamdev status' prints.";
      this.onLink({ state: "lost", since: this.lastHeard / 1000, text });
    }
    this.probing = setTimeout(() => this.#probe(), PROBE_MS);
  }

  /** Whether the daemon is back; null: nobody is there. */
  async #isDaemon() {
    const nonce = [...crypto.getRandomValues(new Uint8Array(16))].map(hex).join("");
    try {
      const response = await fetch(`/proof?nonce=${nonce}`, {
        credentials: "omit",
        signal: AbortSignal.timeout(PROBE_LIMIT_MS),
      });
      if (this.proofKey === null) return response.ok;
      return response.ok && (await response.text()) === (await hmac(this.proofKey, nonce));
    } catch {
      return null;
    }
  }

  #seen() {
    clearTimeout(this.hiding);
    if (document.hidden) {
      this.hiding = setTimeout(() => {
        this.isPaused = true;
        this.#close();
      }, HIDDEN_MS);
    } else if (this.isPaused) {
      this.isPaused = false;
      this.#probe();
    }
  }

  #take(message) {
    this.batch.push(message);
    if (this.scheduled) return;
    this.scheduled = true;
    const flush = () => {
      if (!this.scheduled) return;
      this.scheduled = false;
      const batch = this.batch;
      this.batch = [];
      this.onBatch(batch);
    };
    requestAnimationFrame(flush);
    // A tab in the background has no frames.
    if (document.hidden) setTimeout(flush, 500);
  }
}

const hex = (byte) => byte.toString(16).padStart(2, "0");

async function hmac(key, text) {
  const bytes = new TextEncoder();
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const imported = await crypto.subtle.importKey("raw", bytes.encode(key), algorithm, false, ["sign"]);
  const signed = await crypto.subtle.sign("HMAC", imported, bytes.encode(text));
  return [...new Uint8Array(signed)].map(hex).join("");
}
