/*
 * Light or dark: the system's choice, or the reader's, who is remembered.
 */

import { recall, remember } from "./memory.js";

const NEXT = { "": "light", light: "dark", dark: "" };
const LABELS = { "": "auto", light: "light", dark: "dark" };

/** Let `button` go round system, light and dark; `onChange` is called whenever colours change. */
export function followTheme(button, onChange) {
  let theme = recall("theme") in NEXT ? recall("theme") : "";
  const show = () => {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    button.textContent = `Theme: ${LABELS[theme]}`;
    button.title = `Change to ${LABELS[NEXT[theme]]}`;
  };
  button.addEventListener("click", () => {
    theme = NEXT[theme];
    remember("theme", theme);
    show();
    onChange();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", onChange);
  show();
}

/** The colour that a custom property of theme.css has now, as a canvas takes it. */
export function colour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}
