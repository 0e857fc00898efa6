/*
 * Where long text is cut into slices.
 *
 * At the end of a line; of a line that is too long, at a space, and never within what a reader
 * sees as one character. Joined again, the slices are the text.
 */

const RIGHT_TO_LEFT =
  /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;
const AHEAD = 64; // what may still belong to the character before it
const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/**
 * Find the slice of `text` that begins at `from`, of at most `length`.
 *
 * It is of whole lines (`direction` is null), or a piece of one line and has that line's direction.
 *
 * @param {string} text
 * @param {number} from where the slice before this one ended
 * @param {number} length
 * @param {"ltr"|"rtl"|null} before the direction of the slice before this one
 * @returns {{to: number, direction: "ltr"|"rtl"|null}}
 */
export function nextSlice(text, from, length, before = null) {
  const isLineStart = from === 0 || text[from - 1] === "\n";
  const reach = text.slice(from, from + length);
  const isLast = from + length >= text.length;
  if (isLineStart) {
    const end = isLast ? reach.length : reach.lastIndexOf("\n") + 1;
    if (end) return { to: from + end, direction: null };
  }
  const end = reach.indexOf("\n") + 1 || (isLast ? reach.length : cut(text, from, length));
  return { to: from + end, direction: isLineStart ? directionOf(reach) : before };
}

/** The length of what can be cut off of the text from `from` on: at most `length`, at least 1. */
export function cut(text, from, length) {
  if (from + length >= text.length) return text.length - from;
  const space = text.slice(from, from + length).lastIndexOf(" ") + 1;
  const wanted = space > length / 2 ? space : length;
  const around = text.slice(from, from + wanted + AHEAD);
  const start = graphemes.segment(around).containing(wanted).index;
  return start || wanted - Number(isLowSurrogate(text, from + wanted)) || 1;
}

/** The direction of a line, which its first letter gives it (UAX #9, P2). */
function directionOf(line) {
  const [letter = ""] = /\p{L}/u.exec(line) ?? [];
  return RIGHT_TO_LEFT.test(letter) ? "rtl" : "ltr";
}

function isLowSurrogate(text, at) {
  const code = text.charCodeAt(at);
  return code >= 0xdc00 && code <= 0xdfff;
}
