/*
 * What the browser remembers of the reader's choices, as far as it lets us.
 */

/** The text that was kept under this name, or "". */
export function recall(name) {
  try {
    return localStorage.getItem(`hh-${name}`) ?? "";
  } catch {
    return "";
  }
}

export function remember(name, text) {
  try {
    localStorage.setItem(`hh-${name}`, text);
  } catch {
    // it holds until the page is left
  }
}
