/*
 * Long text and long lists, a slice at a time.
 *
 * Whatever its length, no more is laid out than a reader asked for.
 */

import { make, makeButton } from "./dom.js";
import { bytes, count } from "./format.js";

const FIRST_TEXT = 6_000;
const NEXT_TEXT = 60_000;
const FIRST_ITEMS = 100;

/** Show text, the rest of it on demand. */
export function makeText(text, attributes = {}) {
  const body = make("div", { class: "text", dir: "auto", ...attributes });
  const add = (from, length) => {
    const to = cut(text, from + length);
    body.append(text.slice(from, to));
    if (to < text.length)
      body.append(makeMore(`Show more (${bytes(text.length - to)})`, () => add(to, NEXT_TEXT)));
  };
  add(0, FIRST_TEXT);
  return body;
}

/** Append what `draw` makes of each item to `parent`, the rest of it on demand. */
export function appendItems(parent, items, draw, noun, slice = FIRST_ITEMS) {
  const add = (from) => {
    const to = Math.min(items.length, from + slice);
    parent.append(...items.slice(from, to).map((item, index) => draw(item, from + index)));
    if (to < items.length) {
      parent.append(makeMore(`Show more (${count(items.length - to, noun)})`, () => add(to)));
    }
  };
  add(0);
}

/** A button that is replaced by what it brings. */
export function makeMore(label, bring) {
  const button = makeButton(
    label,
    () => {
      button.remove();
      bring();
    },
    { class: "more" },
  );
  return button;
}

/** Where to cut so that no pair of surrogates falls apart. */
function cut(text, at) {
  if (at >= text.length) return text.length;
  const code = text.charCodeAt(at);
  return code >= 0xdc00 && code <= 0xdfff ? at + 1 : at;
}
