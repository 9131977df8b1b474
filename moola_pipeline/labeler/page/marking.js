// What keys and mouse do to the marks of a window: pure functions, without a page.

/** @typedef {import("./api.js").Marks} Marks @typedef {import("./api.js").Span} Span */

export const LAST_BAR = 104;

/** @param {Span} one @param {Span} other */
const byStart = (one, other) => one.start - other.start || one.end - other.end;

/**
 * Marks with one span added, or put in the place of another.
 * @param {Marks} marks @param {Span} span @param {[number, number]} core @param {Span | null} replaced
 * @returns {Marks}
 * @throws {Error} if it starts outside the bars to judge, or overlaps another by more than a border bar
 */
export function withSpan(marks, span, core, replaced = null) {
  const [start, end] = [Math.min(span.start, span.end), Math.max(span.start, span.end)];
  if (start < core[0] || start > core[1]) {
    throw new Error(`An expansion is marked if it starts in bars ${core[0]} to ${core[1]}; this one starts in bar ${start}.`);
  }
  const others = marks.spans.filter((other) => other !== replaced);
  for (const other of others) {
    const shared = Math.min(end, other.end) - Math.max(start, other.start) + 1;
    const shorter = Math.min(end - start, other.end - other.start) + 1;
    if (shared > 1 || 2 * shared > shorter) throw new Error("Expansions may share one border bar, not more.");
  }
  const added = { start, end: Math.min(end, LAST_BAR), type: span.type };
  return { spans: [...others, added].sort(byStart), verdict: null };
}

/** @param {Marks} marks @param {Span} span @returns {Marks} */
export function withoutSpan(marks, span) {
  return { spans: marks.spans.filter((other) => other !== span), verdict: null };
}

/**
 * A span with the end that lies nearest to a bar moved.
 * @param {Span} span @param {number} bar @param {number} by @returns {{span: Span, moved: "start" | "end"}}
 */
export function nudged(span, bar, by) {
  const moved = Math.abs(bar - span.start) < Math.abs(bar - span.end) ? "start" : "end";
  const value = span[moved] + by;
  const limited = moved === "start" ? Math.min(value, span.end) : Math.max(Math.min(value, LAST_BAR), span.start);
  return { span: { ...span, [moved]: limited }, moved };
}

/** The span at a bar, else the one nearest to it. @param {Marks} marks @param {number} bar @returns {Span | null} */
export function spanAt(marks, bar) {
  const apart = (/** @type {Span} */ span) => Math.max(span.start - bar, bar - span.end, 0);
  return [...marks.spans].sort((one, other) => apart(one) - apart(other))[0] ?? null;
}
