/*
 * JSON text, token by token.
 *
 * It is never read into values, so that what JavaScript would round stays as it was sent; and
 * nothing here recurses, however deep it nests.
 */

const QUOTE = 34;
const COMMA = 44;
const COLON = 58;
const BACKSLASH = 92;
const OPENING = 123; // of an object; of a list with bit 5 set
const CLOSING = 125;
const DEEPEST = 40; // what is deeper is indented no further

/** Walks over a text; `from` and `to` are where the token stands that `next` has found. */
export class Tokens {
  from = 0;
  to = 0;
  code = 0; // of its first character

  #text;

  constructor(text) {
    this.#text = text;
  }

  get isSign() {
    return isSign(this.code);
  }

  get isString() {
    return this.code === QUOTE;
  }

  /** Go to the next token; false if there is none. */
  next() {
    const text = this.#text;
    let at = this.to;
    while (isSpace(text.charCodeAt(at))) at += 1;
    this.from = at;
    if (at >= text.length) {
      this.to = at;
      return false;
    }
    this.code = text.charCodeAt(at);
    if (this.code === QUOTE) this.to = stringEnd(text, at);
    else if (isSign(this.code)) this.to = at + 1;
    else this.to = wordEnd(text, at);
    return true;
  }
}

/** The text of one member of a JSON object's text, or null. */
export function memberText(text, name) {
  const wanted = JSON.stringify(name);
  const tokens = new Tokens(text);
  let depth = 0;
  let start = -1;
  let isWanted = false;
  while (tokens.next()) {
    const { code, from, to } = tokens;
    if (isClosing(code)) depth -= 1;
    const isEnd = depth === 0 ? isClosing(code) : depth === 1 && code === COMMA;
    if (isEnd && start >= 0) return text.slice(start, from).trim();
    if (depth === 1 && start < 0) {
      if (code === COLON && isWanted) start = to;
      isWanted = to - from === wanted.length && text.startsWith(wanted, from);
    }
    if (isOpening(code)) depth += 1;
  }
  return null;
}

/** Walks over a JSON text as it is indented; `before` is what stands ahead of each token. */
export class Indented extends Tokens {
  before = "";

  #depth = 0;
  #previous = 0;

  next() {
    const previous = this.#previous;
    if (!super.next()) return false;
    const { code } = this;
    if (isClosing(code)) this.#depth -= 1;
    this.before = "";
    if (previous === COLON) this.before = " ";
    else if (previous && code !== COMMA && code !== COLON && !(isClosing(code) && isOpening(previous)))
      this.before = lineBreak(this.#depth);
    if (isOpening(code)) this.#depth += 1;
    this.#previous = code;
    return true;
  }
}

/** Indent JSON text without reading it into values. */
export function indented(text) {
  const tokens = new Indented(text);
  let result = "";
  while (tokens.next()) result += tokens.before + text.slice(tokens.from, tokens.to);
  return result;
}

const breaks = [];

function lineBreak(depth) {
  const level = Math.max(0, Math.min(depth, DEEPEST));
  breaks[level] ??= `\n${"  ".repeat(level)}`;
  return breaks[level];
}

/** Where a string ends; no regular expression, whose stack a string of megabytes would break. */
function stringEnd(text, at) {
  for (let end = text.indexOf('"', at + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (text.charCodeAt(end - 1 - backslashes) === BACKSLASH) backslashes += 1;
    if (backslashes % 2 === 0) return end + 1;
  }
  return text.length;
}

function wordEnd(text, at) {
  let end = at + 1;
  for (; end < text.length; end += 1) {
    const code = text.charCodeAt(end);
    if (code === QUOTE || isSign(code) || isSpace(code)) break;
  }
  return end;
}

function isSign(code) {
  return code === COMMA || code === COLON || isOpening(code) || isClosing(code);
}

function isOpening(code) {
  return (code | 32) === OPENING;
}

function isClosing(code) {
  return (code | 32) === CLOSING;
}

function isSpace(code) {
  return code === 32 || code === 10 || code === 13 || code === 9;
}
