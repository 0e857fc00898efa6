/*
 * The marks of an axis: how far apart they may be, and how each reads.
 *
 * Plain data. No two marks of one axis read the same, and none is rounded.
 */

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const MONTH = 30 * DAY; // months and years are stepped by the calendar, under these names
const YEAR = 365 * DAY;

/** How far marks of a time axis may be apart, in milliseconds. */
export const TIME_STEPS = [
  ...[1, 2, 5, 10, 15, 30].map((n) => n * SECOND),
  ...[1, 2, 5, 10, 15, 30].map((n) => n * MINUTE),
  ...[1, 2, 3, 6, 12].map((n) => n * HOUR),
  ...[1, 2, 4, 7, 14].map((n) => n * DAY),
  ...[1, 2, 3, 6].map((n) => n * MONTH),
  ...[1, 2, 5, 10, 25, 50].map((n) => n * YEAR),
];

/** How far marks of values may be apart. */
export const VALUE_STEPS = Array.from({ length: 30 }, (_, at) => at - 12).flatMap((power) =>
  [1, 2, 5].map((n) => Number(`${n}e${power}`)),
);
export const WHOLE_STEPS = VALUE_STEPS.filter((step) => step >= 1);

const zone = (options) => new Intl.DateTimeFormat("en", options);
const TIME = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const CLOCK = zone(TIME);
const SECONDS = zone({ ...TIME, second: "2-digit" });
const DATE = zone({ month: "short", day: "numeric" });
const MONTHS = zone({ month: "short", year: "numeric" });
const YEARS = zone({ year: "numeric" });
const dated = (format) => (time) => `${DATE.format(time)} ${format.format(time)}`;
const plain = (format) => (time) => format.format(time);

/** For steps of at least so many milliseconds: the ways to write a time, the shortest first. */
const WAYS = [
  [YEAR, [plain(YEARS), plain(MONTHS)]],
  [MONTH, [plain(MONTHS)]],
  [DAY, [plain(DATE), (time) => `${DATE.format(time)}, ${YEARS.format(time)}`]],
  [MINUTE, [plain(CLOCK), dated(CLOCK)]],
  [0, [plain(SECONDS), dated(SECONDS)]],
];

/** The texts of times that are `step` apart, as short as they can be while they differ. */
export function timeMarks(times, step) {
  const [, ways] = WAYS.find(([least]) => step >= least);
  const tries = ways.map((write) => times.map(write));
  const isApart = (marks) => new Set(marks).size === marks.length;
  return withoutRepeats(tries.find(isApart) ?? tries.at(-1));
}

/** The room that one of them takes, in pixels, on an axis of this length in milliseconds. */
export function roomOf(span) {
  return span > 18 * HOUR && span < 4 * DAY ? 92 : 62;
}

/** The texts of values, each written by `write`. */
export function valueMarks(values, write) {
  return withoutRepeats(values.map(write));
}

/** The powers of ten in a logarithmic axis, at most five. */
export function powers(from, to) {
  const [first, last] = [Math.round(Math.log10(from)), Math.round(Math.log10(to))];
  const step = Math.max(1, Math.ceil((last - first) / 4));
  return Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, at) =>
    Number(`1e${first + at * step}`),
  );
}

/** A number of few digits, as a mark has: 0.0025, 12.5, 1,250, 12.5K. */
export function exact(value) {
  if (Math.abs(value) >= 1e15 || (value !== 0 && Math.abs(value) < 1e-6))
    return String(Number(value.toPrecision(3))).replace("e+", "e");
  return (Math.abs(value) < 10_000 ? EXACT : COMPACT).format(value);
}

const DIGITS = { maximumSignificantDigits: 3 };
const EXACT = new Intl.NumberFormat("en", DIGITS);
const COMPACT = new Intl.NumberFormat("en", { ...DIGITS, notation: "compact" });

/** An hour that comes twice, in autumn, is marked once. */
function withoutRepeats(marks) {
  return marks.map((mark, at) => (marks.indexOf(mark) === at ? mark : ""));
}
