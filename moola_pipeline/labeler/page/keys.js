// The keys: one table for what they do and for what the guide says of them.

/** @type {[string, string][]} */
export const KEYS = [
  ["← →", "move the cursor one bar; with Shift five"],
  ["4 1", "two digits: go to bar 41"],
  ["[", "an expansion starts at the cursor"],
  ["]", "it ends at the cursor; again: move its end here"],
  ["C R U", "its type: consolidation, retracement, unknown; ends it here if it is open"],
  ["Alt ← →", "move the end next to the cursor by a bar"],
  ["Delete", "remove the mark at the cursor"],
  ["N", "nothing here: no expansion starts in the part to judge"],
  ["D", "unusable: leave these bars out for good"],
  ["Enter", "save, and go to the next window"],
  ["Z, Shift Z", "undo and redo, across windows"],
  ["Backspace", "back to the window before"],
  ["M", "what the model would have marked (after saving only)"],
  ["T", "5 or 15 minutes in the second pane"],
  ["?", "this page"],
];

/**
 * The name of a pressed key, as `Shift+ArrowLeft`; null for keys that are not the labeler's.
 * @param {KeyboardEvent} event @returns {string | null}
 */
export function nameOf(event) {
  if (event.ctrlKey || event.metaKey) return null;
  const key = event.key.length === 1 ? event.key.toUpperCase() : event.key;
  if (key === "ArrowLeft" || key === "ArrowRight") {
    return `${event.altKey ? "Alt+" : event.shiftKey ? "Shift+" : ""}${key}`;
  }
  if (event.altKey) return null;
  if (key === "Z" && event.shiftKey) return "Shift+Z";
  return /^([0-9CRUNDZMT[\]?]|Delete|Enter|Backspace|Escape)$/.test(key) ? key : null;
}

/** Digits typed one after the other, as the number of a bar. */
export class TypedBar {
  constructor() {
    this.typed = "";
  }

  /** @param {string} digit @returns {number | null}  the bar, once two digits are there; `104` counts too */
  add(digit) {
    const longer = this.typed + digit;
    this.typed = longer.length === 3 && Number(longer) > 104 ? digit : longer.slice(-3);
    return this.typed.length >= 2 ? Number(this.typed) : null;
  }

  clear() {
    this.typed = "";
  }
}
