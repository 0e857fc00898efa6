/*
 * The columns of the list, and the cells of one row.
 *
 * A row is filled from the summary alone, as text. While the list is sorted by the time to the first
 * token, that stands where the latency does.
 */

import { make } from "../common/dom.js";
import {
  dollars,
  duration,
  fullTime,
  isError,
  isStopped,
  NONE,
  short,
  shortId,
  timeParts,
  whole,
} from "../common/format.js";
import { isKnownKind, makeFailed, makeKind, makeNote, makeStopped, makeThumb } from "../common/icons.js";

const SLOWEST = Math.log(60_000);
const RIGHT = new Set(["tokens", "cost", "latency"]);

/** Name, labels of its parts, by what it sorts, and a title. */
export const COLUMNS = [
  ["time", "Time", "time"],
  ["name", "Name"],
  ["preview", "Input, Output"],
  ["model", "Model"],
  ["tokens", "Tokens", "tokens", "in → out"],
  ["cost", "Cost", "cost"],
  ["latency", "Latency", "latency"],
  ["session", "Session"],
];

export function makeRow() {
  const cells = COLUMNS.map(([name], at) =>
    make("span", { class: className(name), role: "gridcell", "aria-colindex": at + 1 }),
  );
  return make("div", { class: "row", role: "row" }, ...cells);
}

/** Show an event in a row; `sort` says which of two times is wanted. */
export function fillRow(element, row, sort) {
  element.dataset.id = String(row.id);
  element.id = `row-${row.id}`;
  element.classList.toggle("is-error", isError(row));
  const [time, name, preview, model, tokens, cost, latency, session] = element.children;
  fillTime(time, row);
  fillName(name, row);
  fillPreview(preview, row);
  fillText(model, row.model);
  model.title = [row.model, row.provider].filter(Boolean).join(", by ");
  fillTokens(tokens, row);
  fillText(cost, row.cost === null ? null : dollars(row.cost));
  fillLatency(latency, row, sort.endsWith("ttft"));
  session.textContent = row.session_name || shortId(row.session_id);
  session.classList.toggle("mono", !row.session_name);
  session.title = [row.session_name, row.session_id, row.user].filter(Boolean).join("\n");
}

export function className(name) {
  return `cell cell-${name}${RIGHT.has(name) ? " cell-right" : ""}`;
}

function fillTime(cell, row) {
  const { day, time } = timeParts(row.start ?? row.time);
  cell.replaceChildren(...(day ? [make("span", { class: "day" }, `${day} `)] : []), time);
  const start = row.start === null ? "" : `started ${fullTime(row.start)}\n`;
  cell.title = `${start}arrived ${fullTime(row.time)}`;
}

function fillName(cell, row) {
  const name = row.name || (row.type === "model" ? "unnamed" : NONE);
  cell.replaceChildren(
    makeKind(row.type),
    make("b", { dir: "auto", class: row.name ? null : "none" }, name),
    ...(isKnownKind(row.type) ? [] : [make("span", { class: "type", dir: "auto" }, row.type)]),
    ...(typeof row.rating === "number" ? [makeThumb(row.rating)] : []),
    ...(row.note ? [makeNote()] : []),
  );
  cell.title = [row.name, row.type, row.note && `note: ${row.note}`].filter(Boolean).join("\n");
}

function fillPreview(cell, row) {
  const { input, output } = row.preview;
  const text = make("span", { class: "output", dir: "auto" }, output);
  const answer = isError(row)
    ? make("span", { class: "error", dir: "auto" }, makeFailed(), row.error || "error")
    : isStopped(row)
      ? make("span", { class: "stopped" }, makeStopped(), "stopped by the reader ", text)
      : text;
  cell.replaceChildren(make("span", { class: "input", dir: "auto" }, input ?? ""), answer);
  const told = isError(row) ? [row.error] : [];
  cell.title = [input, ...told, output].filter(Boolean).join("\n\n");
}

function fillText(cell, text) {
  cell.textContent = text || NONE;
  cell.title = text ?? "";
  cell.classList.toggle("none", !text);
}

function fillTokens(cell, { tokens_in: asked, tokens_out: answered }) {
  if (asked === null && answered === null) return fillText(cell, null);
  cell.classList.remove("none");
  cell.title = `${whole(asked)} in, ${whole(answered)} out`;
  cell.replaceChildren(short(asked), make("span", { class: "arrow" }, "→"), short(answered));
}

function fillLatency(cell, row, isFirst) {
  const first = row.time_to_first_token;
  const shown = isFirst ? first : row.duration;
  cell.replaceChildren(
    makeMeter(shown),
    make("span", { class: shown === null ? "value none" : "value" }, duration(shown)),
  );
  cell.title = first === null ? "" : `${duration(row.duration)}, first token after ${duration(first)}`;
}

/** A bar on a logarithmic scale, from a millisecond to a minute. */
function makeMeter(ms) {
  const bar = make("i");
  const share = ms === null ? 0 : Math.log(Math.max(1, ms)) / SLOWEST;
  bar.style.transform = `scaleX(${Math.max(0, Math.min(1, share))})`;
  return make("span", { class: "meter", "aria-hidden": "true" }, bar);
}
