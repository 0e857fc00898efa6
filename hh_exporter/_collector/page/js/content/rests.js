/*
 * What is not in the document yet: the rest of a long text or list, on demand.
 *
 * A rest stands where its content would: what is brought comes before it, and so a search finds it
 * in its place.
 */

import { copy } from "../common/clipboard.js";
import { make, makeButton } from "../common/dom.js";

/** @type {WeakMap<Element, any>} */
const rests = new WeakMap();

/**
 * What stands behind an element that `appendRest` or `addFold` has made, or undefined.
 *
 * A text has `text()`, which is not shown yet, and `reach(offset)`, which shows it at least that
 * far; items have `draw()`, which shows some of them and tells whether it did.
 */
export function restOf(element) {
  return rests.get(element);
}

/** All rests within `root`, in the order of the document. */
export const RESTS = "[data-rest]";

/**
 * Append the buttons that bring the rest, unless there is none.
 *
 * @param {Element} parent
 * @param {object} rest
 * @param {(isAll: boolean) => Node} rest.bring what comes next, or all that is left
 * @param {() => string} rest.left how much is left, "" if nothing
 * @param {object} rest.search what `restOf` returns
 * @param {string} [rest.whole] all of it, to be copied
 */
export function appendRest(parent, { bring, left, search, whole }) {
  if (!left()) return;
  const bar = make("span", { class: "rest", "data-rest": "" });
  const show = (isAll) => {
    bar.before(bring(isAll));
    settle();
  };
  const more = makeButton("", () => show(false), { class: "more" });
  const all = makeButton("Show all", () => show(true), { class: "more" });
  const settle = () => {
    const hadFocus = bar.contains(document.activeElement);
    if (left()) {
      more.textContent = `Show more (${left()})`;
      return;
    }
    const frame = bar.closest("[role=tabpanel]");
    bar.remove();
    if (hadFocus) frame?.focus({ preventScroll: true });
  };
  bar.append(more, all);
  if (whole !== undefined)
    bar.append(makeButton("Copy", () => copy(whole), { class: "more", title: "Copy all of it" }));
  settle();
  parent.append(bar);
  rests.set(bar, wrap(search, show, settle, bar));
}

/** Make a folded part that is filled when it is first opened, or when a search looks into it. */
export function makeFold(attributes, label, fill) {
  const fold = make("details", { "data-rest": "", ...attributes }, make("summary", {}, label));
  const draw = () => {
    if (!fold.hasAttribute("data-rest")) return;
    fold.removeAttribute("data-rest");
    fill(fold);
  };
  fold.addEventListener("toggle", draw, { once: true });
  rests.set(fold, { draw });
  return fold;
}

function wrap(search, show, settle, bar) {
  if (search === undefined) return { draw: () => show(false) };
  const reach = (offset) => {
    bar.before(search.reach(offset));
    settle();
  };
  return { text: search.text, reach };
}
