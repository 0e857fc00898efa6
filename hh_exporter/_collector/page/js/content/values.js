/*
 * Values of any shape, in as few lines as say what they are.
 *
 * A long list of numbers is one line that unfolds, and base64 is named by its format and size.
 * Only so many members are made at once: what has more is shown as JSON, which comes in slices.
 */

import { make } from "../common/dom.js";
import { whole } from "../common/format.js";
import { readBase64 } from "../shapes/media.js";
import { isObject } from "../shapes/values.js";
import { makeJson, makeJsonText } from "./json.js";
import { makeMedia } from "./media.js";
import { makeFold } from "./rests.js";
import { appendItems, makeText } from "./slices.js";

const VECTOR = 17; // fewer numbers are listed
const SHOWN_NUMBERS = 3;
const LONGEST_LINE = 120;
const DEEPEST = 8;
const AT_ONCE = 3_000;
const MOST_MEMBERS = 100;

/** Show a value as it is in JSON, unless that has more in it than anybody reads. */
export function makeData(value) {
  return hasBulk(value) ? makeValue(value) : makeJson(value);
}

/** The same for the text of JSON. */
export function makeJsonData(text) {
  const value = JSON.parse(text);
  return hasBulk(value) ? makeValue(value) : makeJsonText(text);
}

/** Show a value with its members by name; `say` shows the texts that are longer than a line. */
export function makeValue(value, say = makeText) {
  return makeMember(value, { say, depth: 0, room: { left: AT_ONCE } });
}

function makeMember(value, way) {
  if (typeof value === "string") return makeString(value, way.say);
  if (isVector(value)) return makeVector(value);
  const isList = Array.isArray(value);
  if (!isList && !isObject(value)) return make("code", { class: "value" }, String(value));
  const size = isList ? value.length : Object.keys(value).length;
  if (size === 0) return make("code", { class: "value" }, isList ? "[]" : "{}");
  way.room.left -= Math.min(size, MOST_MEMBERS);
  const isTooMuch = way.room.left < 0 || way.depth > DEEPEST || (!isList && size > MOST_MEMBERS);
  if (isTooMuch) return makeJson(value);
  const inner = { ...way, depth: way.depth + 1 };
  return isList ? makeList(value, inner) : makeMembers(value, inner);
}

function makeList(values, way) {
  const body = make("ol", { class: "values", start: 0 });
  appendItems(body, values, (value) => make("li", {}, makeMember(value, way)), "value");
  return body;
}

function makeMembers(value, way) {
  const body = make("dl", { class: "values" });
  for (const [name, member] of Object.entries(value)) {
    const shown = makeMember(member, way);
    const isWide = !shown.matches(".value, .media, .vector");
    const isOpen = { class: isWide ? "is-wide" : null };
    body.append(make("dt", { dir: "auto", ...isOpen }, name), make("dd", isOpen, shown));
  }
  return body;
}

function makeString(text, say) {
  const media = readBase64(text);
  if (media !== null) return makeMedia(media);
  if (text.length > LONGEST_LINE || text.includes("\n")) return say(text);
  return make("span", { class: "value", dir: "auto" }, text);
}

/** `1,536 numbers [0.0123, -0.0045, 0.031, …]` */
function makeVector(numbers) {
  const head = numbers.slice(0, SHOWN_NUMBERS).map((number) => Number(number.toPrecision(4)));
  const line = `${whole(numbers.length)} numbers [${head.join(", ")}, …]`;
  const fold = makeFold({ class: "vector" }, line, () => fold.append(makeJson(numbers)));
  return fold;
}

const isVector = (value) =>
  Array.isArray(value) &&
  value.length >= VECTOR &&
  value.every((number) => typeof number === "number");

/** Whether there is a list of numbers or base64 somewhere in a value. */
function hasBulk(value, depth = 0) {
  if (typeof value === "string") return readBase64(value) !== null;
  if (typeof value !== "object" || value === null || depth > 100) return false;
  return isVector(value) || Object.values(value).some((member) => hasBulk(member, depth + 1));
}
