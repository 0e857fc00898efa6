/*
 * The dialog that lists the keys, and explains the filter's language.
 *
 * Each key that main.js or the open event listens for has its line here.
 */

import { makeLanguage } from "./ask/language.js";
import { make } from "./common/dom.js";

const HELP = [
  [["/"], "search"],
  [["j", "k"], "next, previous event; arrows too"],
  [["Enter"], "open the event"],
  [["Esc"], "close it, leave a filter"],
  [["←", "→"], "in a session: close, open a branch"],
  [["[", "]"], "in an event: the one before, after it in its session"],
  [["+", "-"], "rate the event as good, bad; again to take it back"],
  [["a"], "add a note to the event"],
  [["n", "N"], "in an event: next, previous match of the search"],
  [["v"], "events or sessions"],
  [["p"], "pause or resume the list"],
  [["g"], "to the newest event"],
  [["s"], "sort the list"],
  [["e"], "errors only, or all"],
  [["c"], "charts on or off"],
  [["?"], "this list"],
];

/** Show it until it is closed. */
export function showHelp() {
  const rows = HELP.flatMap(([keys, what]) => [
    make("dt", {}, ...keys.map((key) => make("kbd", {}, key))),
    make("dd", {}, what),
  ]);
  const close = make("button", { type: "submit" }, "Close");
  const dialog = make(
    "dialog",
    { id: "keys", "aria-labelledby": "keys-title" },
    // Without it the focus is on the button at the end, and what is above is not seen.
    make("h2", { id: "keys-title", tabindex: -1, autofocus: true }, "Keyboard"),
    make("dl", {}, ...rows),
    makeLanguage(),
    make("div", { class: "dialog-end" }, close),
  );
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
}
