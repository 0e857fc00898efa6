/*
 * Numbers, times and names as people read them.
 *
 * What is missing, or is no number, is an em dash; dates are in the local zone.
 */

export const NONE = "–";

const WHOLE = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const CLOCK = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hour12: false,
});
const DAY = new Intl.DateTimeFormat("en", { month: "short", day: "numeric" });
const FULL = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const FURTHEST = 8.64e15; // the last date that JavaScript has

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const isTime = (value) => isNumber(value) && Math.abs(value) <= FURTHEST;

const CANCELLED = "cancelled"; // as the exporter writes it

/** Whether a call failed, and was not only cancelled. */
export const isError = ({ error }) => error !== null && error !== CANCELLED;

/** Whether whoever read the answer stopped it, which is no failure. */
export const isStopped = ({ error }) => error === CANCELLED;

/** 12,345 */
export function whole(value) {
  return isNumber(value) ? WHOLE.format(value) : NONE;
}

/** 12.3K, from ten thousand on */
export function short(value) {
  if (!isNumber(value)) return NONE;
  return Math.abs(value) < 10_000
    ? WHOLE.format(Math.round(value * 100) / 100)
    : SHORT.format(value);
}

/** Milliseconds as 340 ms, 1.24 s, 2 m 05 s, 3 h 20 m. */
export function duration(ms) {
  if (!isNumber(ms)) return NONE;
  if (ms < 0) return `−${duration(-ms)}`;
  if (ms < 10 && ms !== Math.round(ms)) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(ms < 9_995 ? 2 : 1)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} m ${twoDigits((ms / 1000) % 60)} s`;
  if (minutes < 60 * 48) return `${Math.floor(minutes / 60)} h ${twoDigits(minutes % 60)} m`;
  return `${short(minutes / 60 / 24)} d`;
}

/** US dollars, with the digits that small amounts need: $0.00021, $1.25, $12.3K. */
export function dollars(value) {
  if (!isNumber(value)) return NONE;
  if (value < 0) return `−${dollars(-value)}`;
  if (value === 0) return "$0";
  if (value >= 1000) return `$${SHORT.format(value)}`;
  if (value >= 1) return `$${value.toFixed(2)}`;
  if (value < 1e-6) return "<$0.000001";
  const digits = Math.max(2, Math.min(6, 1 - Math.floor(Math.log10(value))));
  return `$${value.toFixed(digits).replace(/(\.\d\d+?)0+$/, "$1")}`;
}

/** 340 B, 12.3 kB, 4.5 MB */
export function bytes(value) {
  if (!isNumber(value)) return NONE;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let amount = value;
  while (amount >= 999.5 && unit < units.length - 1) {
    amount /= 1000;
    unit += 1;
  }
  return `${unit === 0 || amount >= 100 ? Math.round(amount) : amount.toFixed(1)} ${units[unit]}`;
}

/** 10:31:05.042, and before it the day if that is not today. */
export function timeParts(ms) {
  if (!isTime(ms)) return { day: "", time: NONE };
  const date = new Date(ms);
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday
    ? { day: "", time: `${CLOCK.format(date)}.${String(date.getMilliseconds()).padStart(3, "0")}` }
    : { day: DAY.format(date), time: CLOCK.format(date).slice(0, 5) };
}

/** The same as one text. */
export function shortTime(ms) {
  const { day, time } = timeParts(ms);
  return day ? `${day} ${time}` : time;
}

/** 10:31:05 */
export function clock(ms) {
  return isTime(ms) ? CLOCK.format(new Date(ms)) : NONE;
}

/** 22 Nov 2026, 10:31:05 */
export function fullTime(ms) {
  return isTime(ms) ? FULL.format(new Date(ms)) : NONE;
}

/** The first letters of an id, enough to tell it from its neighbours. */
export function shortId(id) {
  return typeof id === "string" && id.length > 10 ? id.slice(0, 8) : (id ?? NONE);
}

/** `1 event`, `2 events` */
export function count(number, noun) {
  return `${whole(number)} ${noun}${number === 1 ? "" : "s"}`;
}

function twoDigits(value) {
  return String(Math.floor(value)).padStart(2, "0");
}
