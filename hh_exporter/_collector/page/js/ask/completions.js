/*
 * What the filter's text can go on with: keys, and the values that were collected.
 *
 * Plain data. What is offered is always valid, and replaces the term at the cursor only.
 */

import { FAILED, quoted, termsOf } from "./query.js";

const MOST_VALUES = 8;
const MOST_BESIDE = 5; // values that are offered beside keys
const LEAST_TYPED = 2; // letters of a value without its key

/**
 * The keys: how each goes on, what it means, the list of /api/facets that has its values, and
 * values to begin with.
 */
export const KEYS = [
  ["model", ":", "the model's name", "models"],
  ["provider", ":", "who serves the model", "providers"],
  ["source", ":", "where the program runs", "sources"],
  ["kind", ":", "model, tool, chain or session", "types"],
  ["name", ":", "the event's name", "names"],
  ["user", ":", "the user's id, name or e-mail", "users"],
  ["session", ":", "a session's name or id", "sessions"],
  ["latency", ">", "how long it took", null, ["500ms", "2s", "1m"]],
  ["ttft", ">", "time to the first token", null, ["500ms", "2s"]],
  ["cost", ">", "in US dollars", null, ["0.001", "0.01", "0.1"]],
  ["tokens", ">", "in and out", null, ["1k", "10k"]],
  ["tokens_in", ">", "of what was asked", null, ["1k", "10k"]],
  ["tokens_out", ">", "of what was answered", null, ["1k"]],
  ["rating", "<", "feedback: 5 good, 1 bad", null, ["3"]],
  ["note", ":", "feedback in words"],
  ["id", ":", "an event's id"],
  ["parent", ":", "the id of the event above it"],
  ["metadata", ".", "a value by its path: metadata.tenant=a"],
  ["inputs", ".", "a value by its path"],
  ["outputs", ".", "a value by its path"],
  ["config", ".", "a value by its path"],
  ["messages", ".", "of a model event: a value by its path"],
  ["response", ".", "of a model event: a value by its path"],
  ["hyperparameters", ".", "of a model event: a value by its path"],
  ["usage", ".", "of a model event: a value by its path"],
  ["tools", ".", "of a model event: a value by its path"],
  ["metrics", ".", "a value by its path"],
  ["feedback", ".", "a value by its path"],
  ["user_properties", ".", "a value by its path"],
];

/**
 * What may stand at the cursor.
 *
 * @param {string} text of the filter
 * @param {number} caret
 * @param {Record<string, {value: string, count: number}[]>} facets
 * @returns {{label: string, note: string, insert: string, from: number, to: number}[]} `insert` goes
 *   in place of what is between `from` and `to`
 */
export function completionsOf(text, caret, facets) {
  const term = termsOf(text).find(({ from, to }) => from <= caret && caret <= to);
  const [from, to] = term === undefined ? [caret, caret] : [term.from, term.to];
  const minus = term?.isNegated ? "-" : "";
  const place = { from, to };
  const typed = text.slice(from + minus.length, caret).toLowerCase();
  const start = term?.key ? term.key.length + term.operator.length : 0;
  if (start && typed.length >= start)
    return valuesOf(term, typed.slice(start).replace(/^"/, ""), facets).map(([value, note]) => ({
      ...place,
      label: value,
      note,
      insert: `${minus}${term.key}${term.operator}${quoted(value)} `,
    }));
  if (term?.isQuoted) return [];
  const options = keysOf(typed).map(([label, insert, note]) => ({ label, insert, note }));
  if (typed.length >= LEAST_TYPED) options.push(...valuesBeside(typed, facets));
  return options.map((option) => ({
    ...place,
    ...option,
    label: minus + option.label,
    insert: minus + option.insert,
  }));
}

/** Whether somebody may be on the way to a key: its beginning is the last word of the text. */
export function beginsKey(text) {
  const last = termsOf(text).at(-1);
  const isWord = last !== undefined && last.to === text.length && !last.key && !last.isQuoted;
  return isWord && keysOf(last.value.toLowerCase()).length > 0;
}

function keysOf(typed) {
  const keys = KEYS.map(([key, next, note]) => [key + next, key + next, note]);
  const failed = [FAILED, `${FAILED} `, "calls that failed"];
  const others = [[`${FAILED}:`, `${FAILED}:`, "words of the error"]];
  return [failed, ...keys, ...others].filter(([label]) => label.startsWith(typed));
}

function valuesOf({ key, operator }, typed, facets) {
  const [, , , list, examples = []] = KEYS.find(([known]) => known === key) ?? [];
  if (list && (operator === ":" || operator === "="))
    return matching(facets[list] ?? [], typed, MOST_VALUES).map(({ value, count }) => [
      value,
      String(count),
    ]);
  const fitting = examples.filter((value) => value.startsWith(typed) && value !== typed);
  return fitting.map((value) => [value, ""]);
}

function valuesBeside(typed, facets) {
  return KEYS.filter(([, , , list]) => list)
    .flatMap(([key, next, , list]) =>
      matching(facets[list] ?? [], typed, MOST_BESIDE).map(({ value, count }) => ({
        label: `${key}${next}${quoted(value)}`,
        insert: `${key}${next}${quoted(value)} `,
        note: String(count),
      })),
    )
    .slice(0, MOST_BESIDE);
}

/** Those that have what was typed, the ones that begin with it first; none that is typed already. */
function matching(found, typed, most) {
  const having = found.filter(({ value }) => {
    const lower = value.toLowerCase();
    return lower.includes(typed) && lower !== typed;
  });
  const begins = ({ value }) => value.toLowerCase().startsWith(typed);
  return [...having.filter(begins), ...having.filter((one) => !begins(one))].slice(0, most);
}
