// The first-use page: what to mark by six drawn examples, the keys, and the definition to edit.
import { color } from "./chart.js";
import { KEYS } from "./keys.js";

/** @typedef {{title: string, text: string, bars: number[][], spans: {start: number, end: number, type: string}[]}} Example */

/** @param {HTMLCanvasElement} canvas @param {Example} example */
function drawExample(canvas, example) {
  const ratio = devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.scale(ratio, ratio);
  const top = Math.max(...example.bars.map((bar) => bar[1]));
  const bottom = Math.min(...example.bars.map((bar) => bar[2]));
  const step = (width - 12) / example.bars.length;
  const x = (/** @type {number} */ bar) => 6 + bar * step;
  const y = (/** @type {number} */ price) => 22 + ((top - price) / (top - bottom)) * (height - 32);
  for (const span of example.spans) {
    context.fillStyle = color(span.type);
    context.globalAlpha = 0.22;
    context.fillRect(x(span.start), 0, (span.end - span.start + 1) * step, height);
    context.globalAlpha = 1;
    context.font = "600 11px system-ui, sans-serif";
    context.textAlign = x(span.start) > width / 2 ? "right" : "left";
    context.fillText(span.type, context.textAlign === "right" ? x(span.end + 1) : x(span.start) + 2, 13);
  }
  example.bars.forEach(([open, high, low, close], bar) => {
    context.fillStyle = color(close >= open ? "up" : "down");
    context.fillRect(x(bar) + step / 2 - 0.5, y(high), 1, Math.max(y(low) - y(high), 1));
    context.fillRect(x(bar) + 0.12 * step, y(Math.max(open, close)), 0.76 * step, Math.max(Math.abs(y(open) - y(close)), 1));
  });
}

/** @param {string} name @param {Record<string, unknown>} [properties] @param {(Node | string)[]} children */
function make(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/**
 * @param {HTMLDialogElement} dialog @param {Record<string, any>} heading
 * @param {(text: string) => Promise<void>} define
 */
export async function showGuide(dialog, heading, define) {
  /** @type {Example[]} */
  const examples = await (await fetch("page/examples.json")).json();
  const canvases = examples.map(() => document.createElement("canvas"));
  const text = document.createElement("textarea");
  Object.assign(text, { value: heading.definition_text, id: "definition" });
  const start = make("button", { className: "save", textContent: "Start labeling  (Enter)", autofocus: true });
  const keep = make("button", { textContent: "Keep this text as the definition" });
  keep.addEventListener("click", () => define(text.value));
  start.addEventListener("click", () => dialog.close());
  dialog.onkeydown = (event) => {
    if (!dialog.open) return; // the button keeps the focus until the page is drawn: these keys are the window's
    event.stopPropagation(); // what closes this page must not save the window behind it
    if (event.key === "Escape" || (event.key === "Enter" && event.target !== text && event.target !== keep)) {
      event.preventDefault();
      dialog.close();
    }
  };
  dialog.replaceChildren(
    make("h2", { textContent: "Mark where expansions begin and end, and what came before" }),
    make(
      "div",
      {},
      "Each screen is one window. Mark every expansion that starts in the shaded bars 30 to 74; it may end later. ",
      "The type says what the market was in before it. If none starts there, press N. Then Enter: it is saved, and the next window comes. ",
      "All bars shown may be used; a surge that began before bar 30 is left out. An expansion from bar 41 to 47 after a consolidation takes 7 keys: 4 1 [ 4 7 C Enter.",
    ),
    make("h3", { textContent: "Six examples (simulated bars)" }),
    make("div", { className: "examples" }, ...examples.map((example, i) => make("figure", {}, canvases[i], make("figcaption", {}, make("strong", { textContent: `${example.title}. ` }), example.text)))),
    make("h3", { textContent: `Definition ${heading.definition}: what you mean by these words. Change it to what you would still mark next month, or start with it as it is` }),
    text,
    make("h3", { textContent: "Keys (everything works with the mouse too: drag over the bars, then choose the type)" }),
    make("ul", { className: "keys" }, ...KEYS.map(([key, does]) => make("li", {}, make("kbd", { textContent: key }), ` ${does}`))),
    make("div", { className: "row" }, keep, start),
  );
  if (!dialog.open) dialog.showModal();
  canvases.forEach((canvas, i) => drawExample(canvas, examples[i]));
  dialog.scrollTop = 0;
}
