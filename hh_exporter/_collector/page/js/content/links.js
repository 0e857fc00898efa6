/*
 * Links that a text names.
 *
 * One sees where a link leads before it is followed, and only the reader follows it. What is no
 * plain address of the web or of mail, or has a user's name in it, is no link.
 */

import { make } from "../common/dom.js";

const SCHEMES = new Set(["http:", "https:", "mailto:"]);
const LONGEST = 2_000;

/** The address as a browser would go to it, all in ASCII, or null if it is not one to go to. */
function addressOf(text) {
  if (text.length > LONGEST || !URL.canParse(text)) return null;
  const { href, protocol, username, password } = new URL(text);
  return SCHEMES.has(protocol) && !username && !password ? href : null;
}

/** Make a link for its label to go into; `tellAddress` ends it. */
export function makeLink(text) {
  const address = addressOf(text);
  if (address === null) return make("span", { class: "link", "data-address": text });
  return make("a", {
    class: "link",
    "data-address": address,
    href: address,
    target: "_blank",
    rel: "noopener noreferrer",
    referrerpolicy: "no-referrer",
  });
}

/** Show the address beside the label, unless the label is it. */
export function tellAddress(link) {
  const { address } = link.dataset;
  const label = link.textContent.trim();
  if (label === address || `${label}/` === address) return;
  link.after(" ", make("span", { class: "link-address", dir: "ltr" }, `(${address})`));
}
