/*
 * Named parts of an event, one below the other.
 */

import { make } from "../common/dom.js";
import { makeData } from "../content/values.js";

const MOST_IN_TABLE = 100; // more than these are shown as JSON, which comes in slices

/** @param {[string, Node][]} sections titles, and what is below them */
export function makeSections(...sections) {
  return make(
    "div",
    { class: "sections" },
    ...sections.map(([title, content]) =>
      make("section", {}, make("h3", { class: "section-title" }, title), content),
    ),
  );
}

/** Show a value as a table if it is one, else as JSON. */
export function makeTableOrJson(value) {
  return isTable(value) ? makeTable(value) : makeData(value);
}

const isTable = (value) =>
  typeof value === "object" &&
  !Array.isArray(value) &&
  Object.keys(value).length <= MOST_IN_TABLE &&
  Object.values(value).every((item) => typeof item !== "object" && String(item).length <= 200);

function makeTable(value) {
  const rows = Object.entries(value).map(([key, item]) => [
    make("dt", { dir: "auto" }, key),
    make("dd", { dir: "auto" }, String(item)),
  ]);
  return make("dl", { class: "table" }, ...rows.flat());
}
