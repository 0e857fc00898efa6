/*
 * The keys, and the dialog that lists them.
 *
 * Plain keys count only where nobody types, and never together with a modifier; those that scroll
 * are the open event's while it has the focus.
 */

import { makeLanguage } from "../ask/language.js";
import { make } from "./dom.js";

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
const SCROLLING = new Set(["ArrowDown", "ArrowUp", "PageDown", "PageUp"]);

/**
 * Call an action by its key until the page ends.
 *
 * @param {Record<string, (event: KeyboardEvent) => void>} actions
 */
export function listenForKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]")) return;
    const isTyping = event.target.matches("input, textarea, select, [contenteditable]");
    if (isTyping && event.key !== "Escape") return;
    if (event.key === "Enter" && event.target.matches("button, summary, a")) return;
    if (SCROLLING.has(event.key) && event.target.closest("[role=tabpanel]")) return;
    const action = actions[event.key];
    if (action === undefined) return;
    event.preventDefault();
    action(event);
  });
}

export function showHelp() {
  const rows = HELP.flatMap(([keys, what]) => [
    make("dt", {}, ...keys.map((key) => make("kbd", {}, key))),
    make("dd", {}, what),
  ]);
  const close = make("button", { type: "submit" }, "Close");
  const dialog = make(
    "dialog",
    { id: "keys", "aria-labelledby": "keys-title" },
    make("h2", { id: "keys-title" }, "Keyboard"),
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
