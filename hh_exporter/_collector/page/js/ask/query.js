/*
 * The text of the filter as a list of terms, to read and to edit it.
 *
 * It splits and never judges: what a term means, and whether it is one, the collector says alone.
 */

const KEY = /^[\p{L}_][\p{L}\p{N}_-]*(?:\.(?:"(?:[^"\\]|\\.)*"|[^\s".:=<>]+))*(>=|<=|[:=<>])/u;
const URL_START = /^[a-z][a-z0-9+.-]*:\/\//i; // a text with a colon that is no key
const PLAIN = /^[^\s"*\\:=<>-][^\s"*\\]*$/; // needs no quotes, as a value
const SET = new Set([":", "="]);

/** The word that, alone, asks for calls that failed. */
export const FAILED = "error";

/**
 * Split a filter into its terms.
 *
 * A value's quotes are taken off; a quote that is not closed yet reaches to the end.
 *
 * @returns {{from: number, to: number, isNegated: boolean, key: string, operator: string,
 *   value: string, isQuoted: boolean, isOpen: boolean}[]} `key` is "" for a plain word or phrase
 */
export function termsOf(text) {
  const terms = [];
  let at = 0;
  while (at < text.length) {
    if (/\s/.test(text[at])) {
      at += 1;
      continue;
    }
    const term = readTerm(text, at);
    terms.push(term);
    at = term.to;
  }
  return terms;
}

/** The words and phrases that an event's text must have; stars around a word mean nothing. */
export function wordsOf(text) {
  return termsOf(text)
    .filter((term) => !term.key && !term.isNegated && !isFailed(term))
    .map(({ value, isQuoted }) => (isQuoted ? value : value.replace(/^\*+|\*+$/g, "")))
    .filter(Boolean);
}

/** The value that `key` must have, "" if the filter does not ask for one. */
export function valueOf(text, key) {
  return termsOf(text).find((term) => isOf(term, key))?.value ?? "";
}

/** The filter with this value of `key` in place of any other; with none if it is "". */
export function withValue(text, key, value) {
  return replaced(text, (term) => isOf(term, key), value && `${key}:${quoted(value)}`);
}

/** "yes" or "no": whether events must have failed; "" if the filter does not ask. */
export function failureOf(text) {
  const term = termsOf(text).find(isFailed);
  return term === undefined ? "" : term.isNegated ? "no" : "yes";
}

export function withFailure(text, failure) {
  const term = { yes: FAILED, no: `-${FAILED}` }[failure] ?? "";
  return replaced(text, isFailed, term);
}

/** A value as a filter has it: quoted where it would else be split or read as a pattern. */
export function quoted(value) {
  return PLAIN.test(value) ? value : `"${value.replace(/["\\]/g, "\\$&")}"`;
}

/** Whether somebody is in the middle of a term: its value is still missing, or its closing quote. */
export function isUnfinished(text) {
  const last = termsOf(text).at(-1);
  if (last === undefined || last.to < text.length) return false;
  return last.isOpen || (!last.isQuoted && (last.value === "" || last.value === "-"));
}

function readTerm(text, from) {
  const isNegated = text[from] === "-" && /\S/.test(text[from + 1] ?? " ");
  let at = from + Number(isNegated);
  const rest = text.slice(at);
  const [start = "", operator = ""] = (!URL_START.test(rest) && KEY.exec(rest)) || [];
  const key = start.slice(0, start.length - operator.length);
  at += start.length;
  const isQuoted = text[at] === '"';
  const { value, to, isOpen } = isQuoted ? readQuoted(text, at + 1) : readBare(text, at);
  return { from, to, isNegated, key, operator, value, isQuoted, isOpen };
}

function readBare(text, from) {
  const value = /^\S*/.exec(text.slice(from))[0];
  return { value, to: from + value.length, isOpen: false };
}

function readQuoted(text, from) {
  let value = "";
  for (let at = from; at < text.length; at += 1) {
    if (text[at] === '"') return { value, to: at + 1, isOpen: false };
    if (text[at] === "\\" && at + 1 < text.length) at += 1;
    value += text[at];
  }
  return { value, to: text.length, isOpen: true };
}

function isOf(term, key) {
  return term.key === key && SET.has(term.operator) && !term.isNegated;
}

function isFailed(term) {
  return !term.key && !term.isQuoted && term.value === FAILED;
}

/** The text with `term` in place of all that are meant: where the first was, or at its end. */
function replaced(text, isMeant, term) {
  const parts = [];
  let isIn = term === "";
  for (const found of termsOf(text)) {
    if (!isMeant(found)) parts.push(text.slice(found.from, found.to));
    else if (!isIn) parts.push(term);
    isIn ||= isMeant(found);
  }
  if (!isIn) parts.push(term);
  return parts.join(" ");
}
