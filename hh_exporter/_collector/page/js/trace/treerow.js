/*
 * One row of the tree: an event, its bar, and what its branch adds up to.
 *
 * It is made anew only where something of it changed. A branch that is folded shows in its bar what
 * is in it, each event in the lane that it has.
 */

import { make } from "../common/dom.js";
import { count, dollars, duration, fullTime, isError, short, whole } from "../common/format.js";
import { isKnownKind, makeKind, makeNote, makeThumb } from "../common/icons.js";
import { DEEPEST_RAIL } from "./branches.js";
import { widest } from "./lanes.js";

const MOST_IN_BAR = 60;
const MOST_LANES = 4; // more than these share them: a bar is ten pixels high
const filled = new WeakMap(); // what each row shows

/** Fill a row with what unfold() says of it, on a time axis {from, to}. */
export function fillRow(row, { node, level, rails }, { from, to }, isFolded) {
  const { event, sum, group, part, children } = node;
  // A tree that grew has other nodes, of which most say the same.
  const shown = [event, from, to, part, group?.size, level, rails.join(), children.length];
  shown.push(...Object.values(sum), isFolded ? node : null);
  const before = filled.get(row);
  if (before?.every((value, at) => value === shown[at])) return;
  filled.set(row, shown);
  row.classList.toggle("is-error", isError(event));
  row.classList.toggle("is-sum", children.length > 0);
  row.title = titleOf(node);
  const others = group === null ? "" : `, beside ${count(group.size - 1, "other")}`;
  row.replaceChildren(
    ...rails.map((through) => makeRail(through, "through")),
    part === null || level > DEEPEST_RAIL ? "" : makeRail(level, part),
    make(
      "span",
      { class: group === null ? "tree-name" : "tree-name is-beside" },
      make("span", { class: "twisty", "aria-hidden": "true" }),
      makeKind(event.type),
      make("b", { class: "bar-name", dir: "auto" }, nameOf(event)),
      isKnownKind(event.type) ? null : make("span", { class: "type", dir: "auto" }, event.type),
      makeEnd(event),
      makeFailed(node),
      typeof event.rating === "number" ? makeThumb(event.rating) : null,
      event.note ? makeNote() : null,
    ),
    makeTrack(node, { from, to }, isFolded),
    makeCell("bar-tokens", tokensOf(sum), short, "tokens"),
    makeCell("bar-cost", sum.cost, dollars, ""),
    make("span", { class: "bar-time" }, duration(event.duration)),
    make(
      "span",
      { class: "visually-hidden" },
      `starts at ${whole(Math.round(event.start - from))} ms${others}`,
    ),
  );
}

export const nameOf = (event) => event.name || event.model || "unnamed";

const tokensOf = ({ tokens_in: asked, tokens_out: answered }) =>
  asked === null && answered === null ? null : asked + answered;

function titleOf({ event, children, sum, group }) {
  const { tokens_in: asked, tokens_out: answered, cost, errors, events } = sum;
  const said = [
    tokensOf(sum) === null ? null : `${whole(asked ?? 0)} tokens in, ${whole(answered ?? 0)} out`,
    cost === null ? null : dollars(cost),
    errors ? `${whole(errors)} of them failed` : null,
  ].filter(Boolean);
  return [
    [event.type, event.name, event.model].filter(Boolean).join(" · "),
    event.error,
    event.note && `note: ${event.note}`,
    fullTime(event.start),
    group === null ? null : `${whole(group.size)} run side by side`,
    children.length ? `${whole(events)} events in all` : null,
    ...said,
  ]
    .filter(Boolean)
    .join("\n");
}

/** How it ended, unless well. */
function makeEnd({ error }) {
  if (error === null) return null;
  return isError({ error })
    ? make("span", { class: "ended bad" }, "error")
    : make("span", { class: "ended" }, error);
}

/** How many below it failed. */
function makeFailed({ event, sum }) {
  const failed = sum.errors - (isError(event) ? 1 : 0);
  if (failed <= 0) return null;
  const words = make("span", { class: "visually-hidden" }, " failed below it");
  return make("span", { class: "failed" }, short(failed), words);
}

function makeCell(name, value, shown, unit) {
  const text = value === null ? "" : shown(value);
  return make(
    "span",
    { class: name },
    text,
    text && unit ? make("span", { class: "visually-hidden" }, ` ${unit}`) : null,
  );
}

/** What joins those that run side by side, and goes by what is below them. */
function makeRail(level, part) {
  const rail = make("i", { class: "rail", "data-part": part, "aria-hidden": "true" });
  rail.style.setProperty("--level", String(level - 1));
  return rail;
}

function makeTrack(node, { from, to }, isFolded) {
  const { event, children } = node;
  const span = Math.max(1, to - from);
  const makeBar = (kind, { start, duration: length }, isBad) => {
    const bar = make("i", { class: isBad ? `${kind} bad` : kind });
    bar.style.left = `min(${(100 * (start - from)) / span}%, 100% - 3px)`;
    bar.style.width = `${(100 * Math.max(0, length ?? 0)) / span}%`;
    return bar;
  };
  const track = make(
    "span",
    { class: isFolded ? "bar-track is-folded" : "bar-track", "aria-hidden": "true" },
    makeBar("bar", event, isError(event)),
  );
  if (!isFolded) return track;
  const lanes = Math.min(MOST_LANES, widest(children));
  for (const child of children.slice(0, MOST_IN_BAR)) {
    const part = makeBar("bar-part", child.event, child.sum.errors > 0);
    part.style.height = `${100 / lanes}%`;
    part.style.top = `${(100 * (child.lane % lanes)) / lanes}%`;
    track.append(part);
  }
  return track;
}
