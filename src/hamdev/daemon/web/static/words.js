// Numbers, times and places as people write them.

const count = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

export const number = (value) => count.format(value);

/** `1 node`, `2 nodes`. */
export const plural = (value, word) => `${number(value)} ${word}${value === 1 ? "" : "s"}`;

/** Milliseconds as a duration. */
export function duration(ms) {
  if (ms === undefined || ms === null) return "";
  if (ms < 0.1) return "< 0.1 ms";
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

/** Seconds since 1970 as the time of day. */
export const timeOfDay = (seconds) => (seconds ? clock.format(new Date(seconds * 1000)) : "");

/** The last part of a path. */
export const fileName = (path) => (path || "").split("/").pop();

/** A path as seen from the project's folder. */
export function shortPath(path, root) {
  return root && path?.startsWith(`${root}/`) ? path.slice(root.length + 1) : path || "";
}

/** Bytes for people. */
export function size(bytes) {
  if (bytes < 1024) return `${bytes} bytes`;
  if (bytes < 1024 ** 2) return `${(bytes / 1024).toFixed(0)} KiB`;
  if (bytes < 1024 ** 3) return `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
  return `${(bytes / 1024 ** 3).toFixed(1)} GiB`;
}

/** The last part of a qualified name of a type. */
export const typeName = (type) => (type || "").split(".").pop();

/** A value in one short line. */
export function shortValue(summary) {
  if (!summary) return "";
  if (summary.shape && (summary.columns || summary.shape.length > 1)) {
    return `${typeName(summary.type)} ${summary.shape.map(number).join(" × ")}`;
  }
  return (summary.text || "").split("\n", 1)[0];
}

/** How a value differs, in one short line. */
export const shortDiff = (diff) => diff.text.replaceAll("\n", " ");

/** The most telling change of a value. */
export const firstChange = (diff) => (diff.changes?.[0]?.text ?? diff.text).replaceAll("\n", " ");

export const STATES = {
  fresh: "value is current",
  running: "running",
  queued: "is going to run",
  stale: "value is older",
  failed: "raised",
  blocked: "something it needs failed or is missing",
  lacking: "not computed, since an input is missing",
};

/** How a node stands, in words; undefined for what is given from outside. */
export const standing = (state, node) => (state === "stale" && node && !node.summary ? "no value yet" : STATES[state]);
