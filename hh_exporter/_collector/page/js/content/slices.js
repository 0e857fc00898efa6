/*
 * Long text and long lists, a slice at a time.
 *
 * Whatever its length, no more is laid out than a reader asked for and can see: each slice of a text
 * is a block that is laid out when it comes near.
 */

import { make, makeButton } from "../common/dom.js";
import { bytes, count } from "../common/format.js";
import { nextSlice } from "./cuts.js";
import { appendRest } from "./rests.js";

const SLICE = 6_000;
const NEXT_TEXT = 60_000;
const FIRST_ITEMS = 100;
const LINE = 20; // pixels
const ROW = 90; // characters that fit into one, more or less

/** Show text, the rest of it on demand. */
export function makeText(text, attributes = {}) {
  const body = make("div", { class: "text", dir: "auto", ...attributes });
  if (text.length <= SLICE) body.append(text);
  else appendText(body, text, SLICE);
  return body;
}

/** Append text to `parent` in slices: `first` characters of it, and the rest on demand. */
export function appendText(parent, text, first) {
  let at = 0;
  let direction = null;
  const bring = (until) => {
    const slices = document.createDocumentFragment();
    while (at < Math.min(until, text.length)) {
      const slice = nextSlice(text, at, SLICE, direction);
      slices.append(makeTextSlice(text.slice(at, slice.to), slice.direction));
      at = slice.to;
      direction = slice.direction;
    }
    return slices;
  };
  parent.append(bring(first));
  appendRest(parent, {
    bring: (isAll) => bring(isAll ? text.length : at + NEXT_TEXT),
    left: () => (at < text.length ? bytes(text.length - at) : ""),
    search: { text: () => text.slice(at), reach: (offset) => bring(at + offset) },
    whole: text,
  });
}

/** Append what `draw` makes of each item to `parent`, the rest of it on demand. */
export function appendItems(parent, items, draw, noun, slice = FIRST_ITEMS) {
  let at = 0;
  const bring = (until) => {
    const from = at;
    at = Math.min(items.length, until);
    const made = document.createDocumentFragment();
    for (let next = from; next < at; next += 1) made.append(draw(items[next], next));
    return made;
  };
  parent.append(bring(slice));
  appendRest(parent, {
    bring: (isAll) => bring(isAll ? items.length : at + slice),
    left: () => (at < items.length ? count(items.length - at, noun) : ""),
  });
}

/** A button that is replaced by what it brings. */
function makeMore(label, bring) {
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

/** Make a block that is laid out when it comes near; until then its height is a guess. */
export function makeSlice(attributes, ...children) {
  const slice = make("div", { class: "slice", ...attributes }, ...children);
  const texts = children.filter((child) => typeof child === "string");
  slice.style.containIntrinsicBlockSize = `auto ${rowsOf(texts.join("")) * LINE}px`;
  return slice;
}

/*
 * A piece of a line keeps the line's direction, and is an inline block: between those, a selection
 * has no end of a line.
 */
function makeTextSlice(text, direction) {
  return direction === null
    ? makeSlice({}, text)
    : makeSlice({ class: "slice piece", dir: direction }, text);
}

function rowsOf(text) {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines.reduce((rows, line) => rows + Math.max(1, Math.ceil(line.length / ROW)), 0);
}
