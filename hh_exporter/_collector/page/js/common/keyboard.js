/*
 * The keys.
 *
 * Plain keys count only where nobody types, and never together with a modifier; those that scroll
 * are the open event's while it has the focus.
 */

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
