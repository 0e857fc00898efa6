/*
 * The words of a search as one pattern, which finds them as they read.
 *
 * Upper or lower case is the same, and so are a letter and its escape in JSON, also of JSON within
 * the text of JSON, where each escape is escaped again.
 */

const ESCAPES = { '"': '"', "/": "/", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t" };
const MOST_BACKSLASHES = 16; // in a row: no text makes this slow

/** The pattern of some words, of which any is a match; null if there are none. */
export function patternOf(words) {
  const known = [...new Set(words.filter((word) => word !== ""))];
  if (!known.length) return null;
  // The longest first: a word that begins another would hide it.
  const longest = known.sort((one, other) => other.length - one.length);
  return new RegExp(longest.map(wordOf).join("|"), "giu");
}

/*
 * No two parts that follow each other may take the same characters, and no two ways of a part:
 * then there is one way only to read a text, however often it almost matches.
 */
function wordOf(word) {
  let pattern = "";
  let backslashes = 0;
  for (const sign of word) {
    if (sign === "\\") {
      backslashes += 1;
      continue;
    }
    pattern += signOf(sign, backslashes);
    backslashes = 0;
  }
  return pattern + runOf(backslashes);
}

/** A character after some backslashes of the word, as it is or as JSON escapes it. */
function signOf(sign, backslashes) {
  const plain = /\s/.test(sign) ? "\\s" : exactly(sign);
  const escapes = ESCAPES[sign] ? [exactly(ESCAPES[sign])] : [];
  if (!/[ -~]/.test(sign)) {
    // The flag `i` knows the other case of a letter, but not that of its escape.
    const forms = new Set([sign, sign.toLowerCase(), sign.toUpperCase()]);
    escapes.push(...[...forms].map(escaped));
  }
  if (backslashes) {
    const ways = new Set([plain, ...escapes]);
    return `${runOf(backslashes)}(?:${[...ways].join("|")})`;
  }
  if (!escapes.length) return plain;
  return `(?:${plain}|${runOf(1)}(?:${escapes.join("|")}))`;
}

/** At least so many backslashes, as each may be escaped. */
function runOf(backslashes) {
  return backslashes ? `\\\\{${backslashes},${backslashes * MOST_BACKSLASHES}}` : "";
}

function exactly(sign) {
  return `\\u{${sign.codePointAt(0).toString(16)}}`;
}

/** The units of a text as escapes, the first without its backslashes. */
function escaped(text) {
  const units = Array.from({ length: text.length }, (_, at) => text.charCodeAt(at));
  return units.map((unit) => `u${unit.toString(16).padStart(4, "0")}`).join(runOf(1));
}
