/*
 * The time that is looked at: the named ranges, which are counted back from now.
 *
 * Plain data; times are in Unix milliseconds.
 */

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export const ALL = "all";

/** Each range: its name in the address, as people read it, and its length; null for no bound. */
export const RANGES = [
  [ALL, "All time", null],
  ["5m", "Last 5 min", 5 * MINUTE],
  ["1h", "Last hour", HOUR],
  ["24h", "Last 24 h", DAY],
  ["7d", "Last 7 days", 7 * DAY],
];

/** How long a range is; null for all time, and for a name that is none. */
export function lengthOf(name) {
  return RANGES.find(([known]) => known === name)?.[2] ?? null;
}

/** The shortest range that reaches back to `time`. */
export function rangeWith(time, now) {
  const fits = RANGES.find(([, , length]) => length !== null && now - length <= time);
  return fits ?? RANGES[0];
}

/**
 * The time that charts of all events show: from the oldest to now, at least five minutes.
 *
 * Where nothing has come for longer than it came before, it ends at the newest: else all events
 * would stand in one bar at the edge.
 */
export function stretchOf(oldest, newest, now) {
  if (oldest === null) return { since: now - 5 * MINUTE, until: now };
  const isQuiet = now - newest > Math.max(newest - oldest, HOUR);
  const until = isQuiet ? newest + 1 : Math.max(now, newest + 1);
  return { since: Math.min(oldest, until - 5 * MINUTE), until };
}
