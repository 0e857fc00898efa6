/*
 * How text is shown: rendered, or as it came.
 *
 * One choice holds for all that is open, and is remembered. Only so much is rendered at once, so
 * that a long conversation opens as fast as a short one.
 */

import { make, makeButton } from "../common/dom.js";
import { recall, remember } from "../common/memory.js";
import { isJsonText } from "./json.js";
import { LONGEST, makeMarkdown } from "./markdown.js";
import { makeText } from "./slices.js";
import { makeJsonData } from "./values.js";

const AT_ONCE = 200_000; // characters
const WAYS = [
  ["rendered", "Rendered"],
  ["text", "Text"],
];

let way = recall("reading") === "text" ? "text" : "rendered";
let left = AT_ONCE;

/** Show what somebody wrote: Markdown, JSON, or plain text, as the reader chose. */
export function makeReading(text) {
  if (way === "text") return makeText(text);
  if (isJsonText(text)) return makeJsonData(text);
  if (text.length > Math.min(left, LONGEST)) return makeText(text);
  if (left === AT_ONCE) setTimeout(() => (left = AT_ONCE));
  left -= text.length;
  return makeMarkdown(text) ?? makeText(text);
}

/** Show what a tool returned, which may be code or a table of its own: as it came, or as JSON. */
export function makeReturned(text) {
  return way === "rendered" && isJsonText(text) ? makeJsonData(text) : makeText(text);
}

/** The switch; `redraw` is called after a choice. */
export function makeSwitch(redraw) {
  const group = make("div", { class: "switch", role: "group", "aria-label": "Show text as" });
  const buttons = WAYS.map(([name, label]) =>
    makeButton(label, () => choose(name), { "data-way": name }),
  );
  const mark = () => {
    for (const button of buttons)
      button.setAttribute("aria-pressed", String(button.dataset.way === way));
  };
  const choose = (name) => {
    if (name === way) return;
    way = name;
    remember("reading", name);
    mark();
    redraw();
  };
  mark();
  group.append(...buttons);
  return group;
}
