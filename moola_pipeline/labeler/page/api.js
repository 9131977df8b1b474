// Messages to the server: each is on disk when its answer arrives.

/**
 * @typedef {{start: number, end: number, type: string | null}} Span  first and last bar, both inclusive
 * @typedef {{spans: Span[], verdict: "nothing" | "unusable" | null}} Marks
 * @typedef {[number, number, number, number, number, number | null]} Bar  New York seconds, open, high, low, close, ATR
 * @typedef {{bars: number[][], vwap: (number | null)[] | null}} Context
 * @typedef {{bars: Bar[], first: number, core: [number, number], session: string,
 *   context: Record<string, Context>, levels: Record<string, number>}} View
 * @typedef {{name: string, number: number, total: number | null, marks: Marks, status: string, note: string, said: [string, Span[]][]}} OpenWindow
 * @typedef {{text: string, again: string, counts: Record<string, number>}} Progress
 * @typedef {{revision: number, can_undo: boolean, can_redo: boolean, window: OpenWindow | null, view?: View,
 *   progress: Progress, model?: Span[]}} State
 */

export class Refused extends Error {
  /**
   * @param {string} text @param {boolean} conflict  whether another tab works, or this one is out of date
   * @param {boolean} lost  whether what was done could not be stored
   */
  constructor(text, conflict, lost) {
    super(text);
    this.conflict = conflict;
    this.lost = lost;
  }
}

/**
 * @param {Record<string, unknown>} message
 * @returns {Promise<State>}
 */
export async function send(message) {
  let answer;
  try {
    answer = await fetch("message", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(message),
    });
  } catch {
    throw new Refused("The server does not answer. Start moola label again: it resumes here.", false, true);
  }
  const content = await answer.json();
  if (!answer.ok) throw new Refused(content.error, Boolean(content.conflict), answer.status >= 500);
  return content;
}

/** @returns {Promise<{heading: Record<string, any>, next_run: Record<string, any>}>} */
export async function readState() {
  const answer = await fetch("state");
  const content = await answer.json();
  if (!answer.ok) throw new Refused(content.error, false, false);
  return content;
}
