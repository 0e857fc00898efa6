/*
 * JSON text, indented and coloured, exactly as it was sent.
 *
 * What is large comes in slices of some lines each; a slice is coloured when it is laid out.
 */

import { make } from "../common/dom.js";
import { bytes } from "../common/format.js";
import { cut } from "./cuts.js";
import { appendRest } from "./rests.js";
import { appendText, makeSlice } from "./slices.js";
import { Indented, Tokens } from "./tokens.js";

export { indented, memberText } from "./tokens.js";

const SLICE_LINES = 100;
const SLICE_TEXT = 4_000;
const FIRST_SLICES = 2;
const NEXT_SLICES = 40;
const LONGEST_TOKEN = 4_000;
const STATE_CHANGE = "contentvisibilityautostatechange";
const CAN_TELL = `on${STATE_CHANGE}` in HTMLElement.prototype;
const TOO_DEEP = "This nests too deep to be shown here: see Raw JSON.";

/** Show a value as JSON. */
export function makeJson(value) {
  try {
    return makeJsonText(JSON.stringify(value) ?? "null");
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return make("p", { class: "nothing" }, TOO_DEEP);
  }
}

/** Whether a text is that of a JSON object or array. */
export function isJsonText(text) {
  return /^\s*[[{]/.test(text) && isReadable(text);
}

/** Show JSON text, the rest of it on demand. */
export function makeJsonText(text) {
  const body = make("pre", { class: "json", dir: "ltr", translate: "no" });
  const pieces = new Pieces(text);
  let shown = 0;
  const bring = (until) => {
    const slices = document.createDocumentFragment();
    for (; shown < until && pieces.has(shown); shown += 1)
      slices.append(makeJsonSlice(pieces.at(shown), shown < FIRST_SLICES));
    return slices;
  };
  if (!pieces.has(1)) {
    body.append(...makeJsonSlice(pieces.at(0), true).childNodes);
    return body;
  }
  body.append(bring(FIRST_SLICES));
  appendRest(body, {
    bring: (isAll) => bring(isAll ? Infinity : shown + NEXT_SLICES),
    left: () => (pieces.has(shown) ? bytes(text.length - pieces.before(shown)) : ""),
    search: {
      text: () => pieces.textFrom(shown),
      reach: (offset) => bring(pieces.after(shown, offset)),
    },
  });
  return body;
}

/** The lines of an indented text, some at a time, made when they are asked for. */
class Pieces {
  #text;
  #tokens;
  #isAhead; // a token that is found, and not in a piece
  #made = []; // {parts, to}: texts, and {fold} for the end of a token that is too long

  constructor(text) {
    this.#text = text;
    this.#tokens = new Indented(text);
    this.#isAhead = this.#tokens.next();
    this.#read();
  }

  has(index) {
    while (this.#made.length <= index && this.#isAhead) this.#read();
    return index < this.#made.length;
  }

  at(index) {
    return this.#made[index].parts;
  }

  /** How much of the text, as it was sent, the pieces before this one hold. */
  before(index) {
    return index ? this.#made[index - 1].to : 0;
  }

  textFrom(index) {
    this.has(Infinity);
    const parts = this.#made.slice(index).flatMap((piece) => piece.parts);
    return parts.map((part) => part.fold ?? part).join("");
  }

  /** The piece that follows the one with this offset of what `textFrom(index)` returns. */
  after(index, offset) {
    let next = index;
    for (let at = 0; at < offset && this.has(next); next += 1)
      for (const part of this.at(next)) at += (part.fold ?? part).length;
    return next;
  }

  #read() {
    const tokens = this.#tokens;
    const parts = [];
    let part = "";
    let lines = 0;
    let length = 0;
    for (let isFirst = true; this.#isAhead; isFirst = false) {
      const { before, from, to } = tokens;
      const isLine = before.startsWith("\n");
      if (isLine && !isFirst) {
        part += "\n";
        lines += 1;
        if (lines >= SLICE_LINES || length >= SLICE_TEXT) break;
      }
      part += isLine ? before.slice(1) : before;
      const shown = to - from > LONGEST_TOKEN ? cut(this.#text, from, LONGEST_TOKEN) : to - from;
      part += this.#text.slice(from, from + shown);
      length += before.length + shown;
      if (from + shown < to) {
        parts.push(part, { fold: this.#text.slice(from + shown, to) });
        part = "";
      }
      this.#isAhead = tokens.next();
    }
    parts.push(this.#isAhead ? part : `${part}\n`);
    this.#made.push({ parts, to: this.#isAhead ? tokens.from : this.#text.length });
  }
}

function isReadable(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function makeJsonSlice(parts, isNear) {
  const slice = makeSlice({}, ...parts.map((part) => (part.fold ? makeFolded(part.fold) : part)));
  if (isNear || !CAN_TELL) {
    colour(slice);
    return slice;
  }
  const follow = ({ skipped }) => {
    if (skipped) return;
    slice.removeEventListener(STATE_CHANGE, follow);
    colour(slice);
  };
  slice.addEventListener(STATE_CHANGE, follow);
  return slice;
}

function makeFolded(text) {
  const folded = make("span", { class: "json-string" });
  appendText(folded, text, 0);
  return folded;
}

function colour(slice) {
  for (const node of [...slice.childNodes])
    if (node instanceof Text) node.replaceWith(coloured(node.data));
}

function coloured(text) {
  const fragment = document.createDocumentFragment();
  const tokens = new Tokens(text);
  let plainFrom = 0;
  let string = null; // a string that is a key if a colon follows
  const add = (name, { from, to }) => {
    fragment.append(text.slice(plainFrom, from), make("span", { class: name }, text.slice(from, to)));
    plainFrom = to;
  };
  while (tokens.next()) {
    const { from, to, isSign, isString } = tokens;
    if (string !== null) add(text[from] === ":" ? "json-key" : "json-string", string);
    string = isString ? { from, to } : null;
    if (!isString && !isSign) add("json-number", tokens);
  }
  if (string !== null) add("json-string", string);
  fragment.append(text.slice(plainFrom));
  return fragment;
}
