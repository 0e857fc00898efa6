/*
 * JSON text, indented and coloured, exactly as it was sent.
 *
 * It is never parsed into numbers on the way: what JavaScript would round stays as it is.
 */

import { make } from "./dom.js";
import { makeMore } from "./slices.js";

const SPACE = /\s*/y;
const PLAIN = /[[\]{},:]|[^\s[\]{},:"]+/y;
const OPENING = new Set(["{", "["]);
const CLOSING = new Set(["}", "]"]);
const FIRST_LINES = 400;
const NEXT_LINES = 4_000;
const LONGEST_TOKEN = 4_000;

/** Show a value as JSON. */
export function makeJson(value) {
  return makeJsonText(JSON.stringify(value) ?? "null");
}

/** Whether a text is that of a JSON object or array. */
export function isJsonText(text) {
  return /^\s*[[{]/.test(text) && isReadable(text);
}

/** Show JSON text, the rest of it on demand. */
export function makeJsonText(text) {
  const body = make("pre", { class: "json", dir: "ltr", translate: "no" });
  const lines = indent(text);
  const add = (number) => {
    const fragment = document.createDocumentFragment();
    for (let line = 0; line < number; line += 1) {
      const { value, done } = lines.next();
      if (done) {
        body.append(fragment);
        return;
      }
      fragment.append(...value, "\n");
    }
    body.append(
      fragment,
      makeMore("Show more", () => add(NEXT_LINES)),
    );
  };
  add(FIRST_LINES);
  return body;
}

/** Indent JSON text without reading it into values. */
export function indented(text) {
  let result = "";
  for (const { token, before } of layOut(text)) result += before + token;
  return result;
}

/** The text of one member of a JSON object's text, or null. */
export function memberText(text, name) {
  const wanted = JSON.stringify(name);
  let depth = 0;
  let start = -1;
  let previous = "";
  for (const { token, at } of tokens(text)) {
    if (CLOSING.has(token)) depth -= 1;
    const isEnd = depth === 0 ? CLOSING.has(token) : depth === 1 && token === ",";
    if (isEnd && start >= 0) return text.slice(start, at).trim();
    if (depth === 1 && token === ":" && start < 0 && previous === wanted) start = at + 1;
    if (OPENING.has(token)) depth += 1;
    previous = token;
  }
  return null;
}

function isReadable(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function* tokens(text) {
  let at = 0;
  for (;;) {
    SPACE.lastIndex = at;
    at += SPACE.exec(text)[0].length;
    if (at >= text.length) return;
    const end = text[at] === '"' ? stringEnd(text, at) : plainEnd(text, at);
    yield { token: text.slice(at, end), at };
    at = end;
  }
}

/** Where a string ends; no regular expression, whose stack a string of megabytes would break. */
function stringEnd(text, at) {
  for (let end = text.indexOf('"', at + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (text[end - 1 - backslashes] === "\\") backslashes += 1;
    if (backslashes % 2 === 0) return end + 1;
  }
  return text.length;
}

function plainEnd(text, at) {
  PLAIN.lastIndex = at;
  return at + (PLAIN.exec(text)?.[0].length ?? 1);
}

/** Each token with the white space that belongs before it. */
function* layOut(text) {
  let depth = 0;
  let previous = "";
  for (const { token } of tokens(text)) {
    if (CLOSING.has(token)) depth -= 1;
    const isEmpty = (previous === "{" && token === "}") || (previous === "[" && token === "]");
    let before = "";
    if (previous === ":") before = " ";
    else if (previous && token !== "," && token !== ":" && !isEmpty)
      before = `\n${"  ".repeat(Math.min(depth, 100))}`;
    yield { token, before };
    if (OPENING.has(token)) depth += 1;
    previous = token;
  }
}

/** The lines, each a list of texts and coloured elements. */
function* indent(text) {
  let line = [];
  let pending = null; // a string that is a key if a colon follows
  const settle = (isKey) => {
    if (pending !== null) line.push(colour(pending, isKey));
    pending = null;
  };
  for (const { token, before } of layOut(text)) {
    settle(token === ":");
    if (before.startsWith("\n")) {
      yield line;
      line = [before.slice(1)];
    } else if (before) {
      line.push(before);
    }
    if (token.startsWith('"')) pending = token;
    else
      line.push(/^[[\]{},:]$/.test(token) ? token : make("span", { class: "json-number" }, token));
  }
  settle(false);
  yield line;
}

function colour(token, isKey) {
  const element = make("span", { class: isKey ? "json-key" : "json-string" });
  element.append(token.slice(0, LONGEST_TOKEN));
  if (token.length > LONGEST_TOKEN) {
    const rest = token.length - LONGEST_TOKEN;
    element.append(
      makeMore(`… ${rest.toLocaleString("en")} more`, () =>
        element.append(token.slice(LONGEST_TOKEN)),
      ),
    );
  }
  return element;
}
