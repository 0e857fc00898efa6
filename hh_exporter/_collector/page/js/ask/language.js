/*
 * The filter's language in short, for the dialog that lists the keys.
 */

import { make } from "../common/dom.js";
import { KEYS } from "./completions.js";

const EXAMPLES = [
  ['parcel "on its way"', "words and phrases, anywhere in an event"],
  ["model:gpt-4o", "a value; also model=gpt-4o"],
  ['session:"support chat"', "a value with spaces"],
  ["name:retriev*", "a value that begins so"],
  ["latency>2s cost>=0.01", "more or less than that; times have ms, s or m"],
  ["metadata.tenant=a", "a value within the event, by its path"],
  ["error -model:o1", "calls that failed, but not of this model"],
];

/** Make what explains it. */
export function makeLanguage() {
  const rows = EXAMPLES.flatMap(([example, what]) => [
    make("dt", {}, make("code", {}, example)),
    make("dd", {}, what),
  ]);
  const keys = KEYS.map(([key, next]) => (next === "." ? `${key}.…` : key)).join(" · ");
  return make(
    "section",
    { class: "language", "aria-labelledby": "language-title" },
    make("h2", { id: "language-title" }, "Filter"),
    make("p", {}, "An event must match every term; - before a term negates it."),
    make("dl", {}, ...rows),
    make("p", { class: "language-keys" }, "Keys: ", make("code", {}, keys)),
  );
}
