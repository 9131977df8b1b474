// The page: what is shown, and what keys and mouse do. The server holds the truth.
import { Refused, readState, send } from "./api.js";
import { ContextChart, WindowChart, clock } from "./chart.js";
import { showEnd } from "./end.js";
import { showGuide } from "./guide.js";
import { TypedBar, nameOf } from "./keys.js";
import { LAST_BAR, nudged, spanAt, withSpan, withoutSpan } from "./marking.js";

/** @typedef {import("./api.js").Span} Span @typedef {import("./api.js").Marks} Marks */

const TYPES = /** @type {Record<string, string>} */ ({ C: "consolidation", R: "retracement", U: "unknown" });
const MIDDLE = 52;
const BEAT_MILLISECONDS = 2000;

/** @param {string} id @returns {HTMLElement} */
const element = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
const tab = crypto.randomUUID();
const chart = new WindowChart(element("chart"));
const context = new ContextChart(element("context"));
const typed = new TypedBar();
const page = {
  /** @type {import("./api.js").State} */
  state: { revision: 0, can_undo: false, can_redo: false, window: null, progress: { text: "", again: "", counts: {} } },
  /** @type {import("./api.js").View | null} */
  view: null,
  cursor: MIDDLE,
  /** @type {number | null} first bar of a mark without an end */
  pending: null,
  /** @type {Span | null} */
  selected: null,
  /** @type {Span[]} */
  model: [],
  minutes: "5",
  /** @type {Set<string>} */
  seenContext: new Set(),
  openedAt: performance.now(),
  heading: /** @type {Record<string, any>} */ ({}),
};
/** Keys and clicks are acted on one after the other, each when the one before is on disk. */
let queue = Promise.resolve();

/** @returns {Marks} */
const marks = () => page.state.window?.marks ?? { spans: [], verdict: null };

/** @param {() => Promise<void> | void} action */
function enqueue(action) {
  queue = queue.then(action).catch((fault) => {
    if (!(fault instanceof Refused)) return say(fault.message);
    if (fault.conflict) return offerTakeOver(fault.message);
    say(fault.message);
    if (fault.lost) setStatus("error", "not saved");
    else showStatus();
  });
  return queue;
}

/** @param {string} text */
function say(text) {
  element("message").textContent = text;
}

/** @param {string} state @param {string} text */
function setStatus(state, text) {
  element("status").dataset.state = state;
  element("status").textContent = text;
}

/** @param {Record<string, unknown>} message */
async function act(message) {
  setStatus("writing", "writing …");
  show(await send({ ...message, tab, revision: page.state.revision, window: page.state.window?.name ?? null }));
}

/** @param {Marks} changed @param {Span | null} selected */
async function mark(changed, selected) {
  await act({ kind: "mark", marks: changed });
  page.pending = null;
  page.selected = selected && (marks().spans.find((span) => span.start === selected.start && span.end === selected.end) ?? null);
  draw();
}

/** @param {import("./api.js").State} state */
function show(state) {
  const moved = state.window?.name !== page.state.window?.name || Boolean(state.view);
  page.state = state;
  page.model = state.model ?? (moved ? [] : page.model);
  element("progress").textContent = state.progress.text;
  element("again").textContent = state.progress.again;
  element("work").hidden = state.window === null;
  element("end").hidden = state.window !== null;
  if (state.window === null) {
    showEnd(element("end"), state, () => enqueue(() => act({ kind: "run" })));
    return;
  }
  if (moved && state.view) {
    page.view = state.view;
    chart.show(state.view);
    Object.assign(page, { cursor: MIDDLE, pending: null, selected: null, openedAt: performance.now() });
    page.seenContext = new Set();
    showContext();
  }
  page.selected = page.selected && spanAt(marks(), page.selected.start);
  showStatus();
  draw();
}

function showStatus() {
  const { window } = page.state;
  if (!window) return;
  const isEmpty = !marks().spans.length && !marks().verdict;
  /** @type {Record<string, string>} */
  const texts = { draft: isEmpty ? "" : "draft stored", saved: "saved", changed: "changed since it was saved" };
  setStatus(window.status, texts[window.status] ?? "");
}

function showContext() {
  if (!page.view) return;
  context.show(page.view, page.minutes);
  page.seenContext.add(`${page.minutes}-minute`);
  element("context-name").textContent = `${page.minutes} minutes${page.view.context[page.minutes].vwap ? ", line: VWAP" : ""}`;
  const levels = page.view.levels;
  element("levels").textContent = ["prior day", "overnight"]
    .filter((name) => `${name} high` in levels)
    .map((name) => `${name} (${name === "overnight" ? "dotted" : "dashed"}) ${levels[`${name} low`].toFixed(2)} – ${levels[`${name} high`].toFixed(2)}`)
    .join("\n");
}

function draw() {
  const { window } = page.state;
  if (!window || !page.view) return;
  const pending = page.pending === null ? null : { start: Math.min(page.pending, page.cursor), end: Math.max(page.pending, page.cursor), type: null };
  chart.draw(marks().spans, page.selected, pending, page.cursor, [...window.said, ["model", page.model]]);
  element("where").textContent = `trading day ${page.view.session}  ·  window ${window.number}${window.total ? ` of ${window.total}` : ""}`;
  element("note").textContent = window.note;
  readout(pending ?? spanUnderCursor());
  listMarks();
}

/** @returns {Span | null} */
function spanUnderCursor() {
  const span = spanAt(marks(), page.cursor);
  return page.selected ?? (span && span.start <= page.cursor && page.cursor <= span.end ? span : null);
}

/** @param {Span | null} span */
function readout(span) {
  const bar = chart.bar(page.cursor);
  if (!bar) return;
  const [at, open, high, low, close] = bar;
  const prices = [open, high, low, close].map((price) => price.toFixed(2));
  element("readout").textContent = `bar ${String(page.cursor).padStart(3)}   ${clock(at)} New York   O ${prices[0]}  H ${prices[1]}  L ${prices[2]}  C ${prices[3]}`;
  const first = span && chart.bar(span.start);
  const before = span && chart.bar(span.start - 1);
  const last = span && chart.bar(span.end);
  let move = "";
  if (span && first && last && before?.[5]) {
    const points = last[4] - first[1];
    move = `bars ${span.start}–${span.end} (${span.end - span.start + 1}): ${points >= 0 ? "+" : "−"}${Math.abs(points).toFixed(2)} points = ${Math.abs(points / before[5]).toFixed(1)} ATR`;
  }
  element("move").textContent = move;
}

function listMarks() {
  const list = element("marks");
  list.replaceChildren(
    ...marks().spans.map((span) => {
      const row = document.createElement("div");
      row.className = `mark ${span.type ?? ""} ${span === page.selected ? "selected" : ""}`;
      row.append(`${span.start}–${span.end}  ${span.type ?? "type? C, R or U"}`);
      const remove = document.createElement("button");
      remove.textContent = "×";
      remove.title = "delete this mark";
      remove.addEventListener("click", (event) => {
        event.stopPropagation();
        enqueue(() => mark(withoutSpan(marks(), span), null));
      });
      row.append(remove);
      row.addEventListener("click", () => {
        page.selected = span;
        draw();
      });
      return row;
    }),
  );
  if (marks().verdict) list.textContent = marks().verdict === "nothing" ? "nothing here" : "unusable: left out for good";
}

/** @param {number} bar */
function moveTo(bar) {
  page.cursor = Math.max(0, Math.min(bar, LAST_BAR));
  if (page.selected && (page.cursor < page.selected.start - 1 || page.cursor > page.selected.end + 1)) page.selected = null;
  draw();
}

/** @param {Span | null} span @param {string} type */
async function setType(span, type) {
  if (page.pending !== null) {
    span = { start: Math.min(page.pending, page.cursor), end: Math.max(page.pending, page.cursor), type };
    return mark(withSpan(marks(), span, core()), span);
  }
  const chosen = span ?? (marks().spans.length === 1 ? marks().spans[0] : null);
  if (!chosen) throw new Error("First mark an expansion: [ at its first bar, then the type at its last.");
  await mark(withSpan(marks(), { ...chosen, type }, core(), chosen), { ...chosen, type });
}

const core = () => /** @type {[number, number]} */ (page.view?.core ?? [0, 0]);

async function endHere() {
  if (page.pending !== null) {
    const span = { start: page.pending, end: page.cursor, type: null };
    const [start, end] = [Math.min(span.start, span.end), Math.max(span.start, span.end)];
    return mark(withSpan(marks(), span, core()), { start, end, type: null });
  }
  const span = page.selected ?? spanAt(marks(), page.cursor);
  if (!span) throw new Error("First press [ at the first bar of the expansion.");
  const moved = { ...span, end: Math.max(page.cursor, span.start) };
  await mark(withSpan(marks(), moved, core(), span), moved);
}

/** @param {number} by */
async function nudge(by) {
  const span = spanUnderCursor() ?? spanAt(marks(), page.cursor);
  if (!span) throw new Error("There is no mark to move an end of.");
  const { span: moved, moved: end } = nudged(span, page.cursor, by);
  await mark(withSpan(marks(), moved, core(), span), moved);
  page.cursor = moved[end];
  draw();
}

async function save() {
  const { window } = page.state;
  if (!window) return;
  if (page.pending !== null) throw new Error("An expansion is open: end it with C, R, U or ], or press Escape. Nothing was saved.");
  const saved = { name: window.name, marks: JSON.stringify(window.marks) };
  await act({
    kind: "save",
    seconds: (performance.now() - page.openedAt) / 1000,
    context: [...page.seenContext],
  });
  Object.assign(element("saved").dataset, saved);
  element("saved").textContent = `saved ${saved.name.split("/")[0]}`;
}

/** Undo or redo; says so if that happened in another window. @param {"undo" | "redo"} kind */
async function takeBack(kind) {
  const before = page.state.window?.name;
  await act({ kind });
  const { window } = page.state;
  if (window && window.name !== before) say(`The last ${kind === "undo" ? "action was taken back" : "action was done again"} in window ${window.number}. ${kind === "undo" ? "Shift-Z does it again." : ""}`);
}

/** What a key or its button does. @param {string} key */
async function press(key) {
  if (!/^[0-9]$/.test(key)) typed.clear();
  if (key === "?") return guide();
  if (!page.state.window) {
    if (key === "Z" || key === "Backspace") await act({ kind: key === "Z" ? "undo" : "back" });
    return;
  }
  say("");
  if (/^[0-9]$/.test(key)) {
    const bar = typed.add(key);
    return bar === null ? undefined : moveTo(bar);
  }
  const step = /^(Shift\+)?Arrow(Left|Right)$/.exec(key);
  if (step) return moveTo(page.cursor + (step[1] ? 5 : 1) * (step[2] === "Left" ? -1 : 1));
  if (key in TYPES) return setType(spanUnderCursor(), TYPES[key]);
  switch (key) {
    case "Alt+ArrowLeft":
    case "Alt+ArrowRight":
      return nudge(key === "Alt+ArrowLeft" ? -1 : 1);
    case "[":
      page.selected = null;
      page.pending = page.cursor;
      if (page.cursor < core()[0] || page.cursor > core()[1]) {
        page.pending = null;
        throw new Error(`An expansion is marked if it starts in bars ${core()[0]} to ${core()[1]}.`);
      }
      return draw();
    case "]":
      return endHere();
    case "Escape":
      page.pending = page.selected = null;
      return draw();
    case "N":
      if (marks().spans.length) throw new Error("There are marks: delete them first, or press Enter to save them.");
      return mark({ spans: [], verdict: "nothing" }, null);
    case "D":
      return mark({ spans: [], verdict: "unusable" }, null);
    case "Delete": {
      const span = spanUnderCursor() ?? (marks().spans.length === 1 ? marks().spans[0] : null);
      if (!span && !marks().verdict) throw new Error("Move the cursor to the mark to delete.");
      return mark(span ? withoutSpan(marks(), span) : { spans: [], verdict: null }, null);
    }
    case "Z":
      return takeBack("undo");
    case "Shift+Z":
      return takeBack("redo");
    case "Backspace":
      return act({ kind: "back" });
    case "M":
      return act({ kind: "model" });
    case "T":
      page.minutes = page.minutes === "5" ? "15" : "5";
      return showContext();
    case "Enter":
      return save();
  }
}

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]")) return;
  const key = nameOf(event);
  if (key === null) return;
  event.preventDefault();
  enqueue(() => press(key));
});
for (const button of document.querySelectorAll("button[data-key]")) {
  button.addEventListener("click", () => {
    /** @type {HTMLElement} */ (button).blur();
    enqueue(() => press(/** @type {HTMLElement} */ (button).dataset.key ?? ""));
  });
}

/** @type {{span: Span | null, end: "start" | "end", from: number, moved: boolean} | null} */
let drag = null;
element("chart").addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || !page.state.window || /** @type {HTMLElement} */ (event.target).closest("a")) return;
  element("chart").setPointerCapture(event.pointerId);
  const grabbed = chart.endAt(event, marks().spans);
  const bar = chart.barAt(event);
  drag = { span: grabbed?.span ?? null, end: grabbed?.end ?? "end", from: bar, moved: false };
  if (grabbed) page.selected = grabbed.span;
  moveTo(bar);
});
element("chart").addEventListener("pointermove", (event) => {
  const bar = chart.barAt(event);
  if (drag && bar !== drag.from) drag.moved = true;
  if (drag?.moved) page.pending = drag.span ? drag.span[drag.end === "end" ? "start" : "end"] : drag.from;
  element("chart").style.cursor = !drag && chart.endAt(event, marks().spans) ? "ew-resize" : "";
  if (bar !== page.cursor) moveTo(bar);
});
element("chart").addEventListener("pointerup", (event) => {
  const done = drag;
  drag = null;
  if (!done) return;
  const bar = chart.barAt(event);
  page.pending = null;
  if (!done.moved) {
    const span = spanAt(marks(), bar);
    page.selected = span && span.start <= bar && bar <= span.end ? span : null;
    return draw();
  }
  enqueue(async () => {
    say("");
    const span = done.span ? { ...done.span, [done.end]: bar } : { start: done.from, end: bar, type: null };
    const ordered = { ...span, start: Math.min(span.start, span.end), end: Math.max(span.start, span.end) };
    try {
      await mark(withSpan(marks(), ordered, core(), done.span), ordered);
    } finally {
      draw();
    }
  });
});

/** @param {string} text */
function offerTakeOver(text) {
  element("taken-text").textContent = text;
  const dialog = /** @type {HTMLDialogElement} */ (element("taken"));
  if (!dialog.open) dialog.showModal();
}

async function guide() {
  const { heading } = await readState();
  page.heading = heading;
  await showGuide(/** @type {HTMLDialogElement} */ (element("guide")), heading, (text) => enqueue(() => act({ kind: "define", text })));
}

/** @param {boolean} take_over */
async function open(take_over) {
  show(await send({ kind: "open", tab, take_over }));
  /** @type {HTMLDialogElement} */ (element("taken")).close();
  say("");
}

element("guide-button").addEventListener("click", () => enqueue(guide));
element("take-over").addEventListener("click", () => enqueue(() => open(true)));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  if (!page.view) return;
  chart.show(page.view);
  showContext();
  draw();
});
addEventListener("pagehide", () => {
  fetch("message", { method: "POST", keepalive: true, headers: { "content-type": "application/json" }, body: JSON.stringify({ kind: "beat", tab, closing: true }) });
});
setInterval(() => {
  if (document.querySelector("#taken[open]")) return;
  send({ kind: "beat", tab }).catch((fault) => {
    if (fault.conflict) offerTakeOver(fault.message);
    else setStatus("error", "the server does not answer");
  });
}, BEAT_MILLISECONDS);

enqueue(async () => {
  const { heading } = await readState();
  page.heading = heading;
  element("who").textContent = heading.title;
  await open(false);
  if (heading.first_use) await guide();
});
