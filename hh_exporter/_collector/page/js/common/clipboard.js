/*
 * Copies text, and says whether that worked.
 *
 * Browsers give the clipboard only to secure origins, which another machine's address is not.
 */

import { byId, make, makeButton } from "./dom.js";

const SHOWN = 1_800;
let timer = 0;

/** Say something short that goes away by itself. */
export function toast(text) {
  const element = byId("toast");
  element.textContent = text;
  element.classList.add("is-shown");
  clearTimeout(timer);
  timer = setTimeout(() => element.classList.remove("is-shown"), SHOWN);
}

export async function copy(text) {
  const isCopied = await write(text);
  toast(isCopied ? "Copied" : "This browser lets nothing be copied here");
}

/** A button that copies what `read` returns. */
export function makeCopyButton(label, read, attributes = {}) {
  return makeButton(label, async () => copy(await read()), attributes);
}

async function write(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return writeBySelection(text);
  }
}

function writeBySelection(text) {
  const focused = document.activeElement;
  const field = make("textarea", {
    class: "visually-hidden",
    readonly: true,
    "aria-hidden": "true",
  });
  field.value = text;
  document.body.append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  focused?.focus({ preventScroll: true });
  return isCopied;
}
