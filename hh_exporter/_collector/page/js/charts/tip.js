/*
 * The values at the cursor of a chart, beside it, and said to those who can't see them; one for
 * all charts.
 */

import { make } from "../common/dom.js";

const MOST_LISTED = 9;
const AWAY = 12;
const EDGE = 4;

const tip = make("div", { class: "chart-tip", hidden: true, "aria-hidden": "true" });
const said = make("p", { class: "visually-hidden", id: "chart-said", role: "status" });
document.body.append(tip, said);

/** The colour of a line, as it is drawn. */
export function makeSwatch(series, isDashed = false) {
  return make("i", { class: `swatch series-${series}${isDashed ? " is-dashed" : ""}` });
}

export function hideTip() {
  tip.hidden = true;
}

/**
 * Tell values at a place of the window: all of two, of more the largest that are not zero.
 *
 * @param {string} title
 * @param {{label: string, series: number|string, value: number|null|undefined}[]} values
 * @param {(value: number) => string} format
 * @param {{x: number, y: number}} place
 */
export function showTip(title, values, format, { x, y }) {
  const told = worthTelling(values);
  tip.replaceChildren(
    make("p", {}, title),
    ...told
      .slice(0, MOST_LISTED)
      .map(({ label, series, isDashed, value }) =>
        make(
          "p",
          {},
          makeSwatch(series, isDashed),
          make("span", { dir: "auto" }, label),
          make("b", {}, format(value)),
        ),
      ),
  );
  tip.hidden = false;
  const fits = x + AWAY + tip.offsetWidth + EDGE <= innerWidth;
  tip.style.left = `${Math.max(EDGE, fits ? x + AWAY : x - AWAY - tip.offsetWidth)}px`;
  tip.style.top = `${y}px`;
}

/** Tell the same to a screen reader. */
export function say(title, values, format) {
  const told = worthTelling(values).map(({ label, value }) => `${label} ${format(value)}`);
  said.textContent = `${title}: ${told.join(", ") || "nothing"}`;
}

function worthTelling(values) {
  const isMany = values.length > 2;
  const told = values.filter(({ value }) => typeof value === "number" && (value > 0 || !isMany));
  return isMany ? told.sort((one, other) => other.value - one.value) : told;
}
