// The end page: what was labeled, and the run that would learn from it.
import { readState } from "./api.js";

const POLL_MILLISECONDS = 1000;
/** @type {ReturnType<typeof setInterval> | undefined} */
let polling;

/** @param {HTMLElement} end @param {import("./api.js").State} state @param {() => Promise<void>} run */
export async function showEnd(end, state, run) {
  const title = document.createElement("h2");
  title.textContent = "Done: no window is left here. All you saved is in the labels.";
  const counts = document.createElement("p");
  counts.textContent = [state.progress.text, state.progress.again].filter(Boolean).join("\n");
  const plan = document.createElement("pre");
  const button = document.createElement("button");
  button.id = "start-run";
  button.textContent = "Start moola run";
  button.addEventListener("click", async () => {
    button.disabled = true;
    await run();
  });
  const hint = document.createElement("p");
  hint.className = "small";
  hint.textContent = "You can close this page. To train a model on the labels, start moola run: the list shows what it rebuilds. Z takes the last action back, Backspace shows the last window; Ctrl-C in the terminal ends the labeler.";
  end.replaceChildren(title, counts, plan, button, hint);
  clearInterval(polling);
  const poll = async () => {
    const { next_run } = await readState();
    plan.textContent = next_run.text;
    button.hidden = next_run.state !== "idle";
  };
  polling = setInterval(() => (end.hidden ? clearInterval(polling) : poll()), POLL_MILLISECONDS);
  await poll();
}
