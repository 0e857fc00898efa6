/*
 * A block of code: its language named, a button that copies it.
 *
 * Its lines are as they came; a long one scrolls in the block's own frame.
 */

import { makeCopyButton } from "../common/clipboard.js";
import { make } from "../common/dom.js";

const LONGEST_NAME = 60;

/** Show code, and what its fence says of it, if anything. */
export function makeCode(text, language) {
  const name = language.length > LONGEST_NAME ? `${language.slice(0, LONGEST_NAME)}…` : language;
  const label = name ? `Code, ${name}` : "Code";
  return make(
    "figure",
    { class: "code" },
    make(
      "figcaption",
      {},
      make("bdi", {}, name),
      makeCopyButton("Copy", () => text, { class: "quiet", "aria-label": "Copy the code" }),
    ),
    make(
      "pre",
      { tabindex: 0, role: "region", "aria-label": label, dir: "ltr" },
      make("code", {}, text),
    ),
  );
}
