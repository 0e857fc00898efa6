/*
 * The drawings that stand for a kind of event, and for what became of it.
 *
 * Each has a name for those who don't see it.
 */

import { makeIcon } from "./dom.js";

const KINDS = {
  model: ["Model call", "M8 1.8 9.6 6.4 14.2 8 9.6 9.6 8 14.2 6.4 9.6 1.8 8 6.4 6.4z"],
  tool: [
    "Tool call",
    "M13.6 4.6 11.2 7 9 4.8 11.4 2.4A3.6 3.6 0 0 0 6.8 7L2.4 11.4a1.5 1.5 0 0 0 2.2 2.2L9 9.2a3.6 3.6 0 0 0 4.6-4.6z",
  ],
  chain: [
    "Chain",
    "M6.5 9.5 9.5 6.5M7.6 4.9 9 3.5A2.5 2.5 0 0 1 12.5 7L11.1 8.4M8.4 11.1 7 12.5A2.5 2.5 0 0 1 3.5 9L4.9 7.6",
  ],
  session: [
    "Session",
    "M4.5 2.5h7a2 2 0 0 1 2 2v4a2 2 0 0 1-2 2H8l-3.5 3v-3a2 2 0 0 1-2-2v-4a2 2 0 0 1 2-2z",
  ],
};
const OTHER = "M8 1.9 13.3 4.9v6.2L8 14.1 2.7 11.1V4.9z";
const THUMB =
  "M5.2 7 7.7 2.2a1.7 1.7 0 0 1 1.7 1.7V6h3a1.3 1.3 0 0 1 1.3 1.5l-.8 4.6a1.3 1.3 0 0 1-1.3 1.1H5.2zM5.2 7H2.5v6.2h2.7";
const NOTE = "M2.5 2.5h11v7l-4 4h-7zM13.5 9.5h-4v4";
const STOPPED = "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8zM6 6h4v4H6z";
const FAILED = "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8zM8 4.8v3.9M8 11v.2";

/** The kind of an event; one that is not known has its name beside it. */
export function makeKind(type) {
  const [label, path] = Object.hasOwn(KINDS, type) ? KINDS[type] : [type, OTHER];
  return makeIcon(path, label, `icon kind kind-${Object.hasOwn(KINDS, type) ? type : "other"}`);
}

export const isKnownKind = (type) => Object.hasOwn(KINDS, type);

/** A thumb, by what a rating says: below 3 it was bad. */
export function makeThumb(rating) {
  const isBad = rating < 3;
  return makeIcon(THUMB, `rated ${rating}`, `icon thumb thumb-${isBad ? "down" : "up"}`);
}

export const makeNote = () => makeIcon(NOTE, "has a note", "icon note");
export const makeStopped = () => makeIcon(STOPPED, null, "icon");
export const makeFailed = () => makeIcon(FAILED, "failed", "icon");
