/*
 * The bar of filters: the box, and choices that edit its text; the range; how many events are left.
 *
 * A field never keeps a value of its own: it shows the address and asks it to change.
 */

import { ApiError, readJson } from "../common/api.js";
import { make, makeButton } from "../common/dom.js";
import { clock, count, fullTime, short, shortTime, whole } from "../common/format.js";
import { Actions } from "./actions.js";
import { Box } from "./box.js";
import { failureOf, valueOf, withFailure, withValue } from "./query.js";
import { ALL, RANGES } from "./range.js";

const STALE = 5_000;
const CHOICES = [
  ["kind", "Kind", "types"],
  ["model", "Model", "models"],
  ["provider", "Provider", "providers"],
  ["source", "Source", "sources"],
];
const FAILURES = [
  ["", "All events"],
  ["yes", "Errors"],
  ["no", "No errors"],
];

/** Tells `pause`, `help` and `cleared`. */
export class Filters extends EventTarget {
  #address;
  #box;
  #facets = {};
  #selects = {};
  #chip;
  #clear;
  #count = make("span", { id: "count", role: "status" });
  #of = make("span", { class: "count-of", id: "count-of" });
  #pause;
  #actions;
  #readAt = -Infinity;

  constructor(form, address) {
    super();
    this.#address = address;
    this.#box = new Box(address, () => this.#facets);
    this.#actions = new Actions(address);
    for (const [part, name] of [
      [this.#box, "help"],
      [this.#actions, "cleared"],
    ])
      part.addEventListener(name, () => this.dispatchEvent(new CustomEvent(name)));
    this.#box.input.addEventListener("focus", () => this.refresh());
    const ranges = RANGES.map(([name, label]) => [name, label]);
    this.#makeSelect("range", "Time", ranges, (range) => address.setRange(range));
    for (const [name, label] of CHOICES)
      this.#makeSelect(name, label, [["", label]], (value) =>
        this.#box.edit((text) => withValue(text, name, value)),
      );
    this.#makeSelect("error", "Errors", FAILURES, (failure) => this.#fail(failure));
    this.#chip = makeButton("", () => address.setRange(ALL), {
      class: "chip",
      title: "Show all times",
    });
    this.#clear = makeButton("Clear", () => this.clear(), {
      id: "clear-filters",
      class: "quiet",
      title: "Clear all filters",
    });
    this.#pause = makeButton("Pause", () => this.dispatchEvent(new CustomEvent("pause")), {
      id: "pause",
      title: "Pause the list (p)",
    });
    const end = make(
      "span",
      { class: "filters-end" },
      make("span", { class: "count" }, this.#count, this.#of),
      this.#pause,
      this.#actions.element,
    );
    const selects = Object.values(this.#selects);
    form.append(this.#box.element, ...selects, this.#chip, this.#clear, end, this.#box.problem);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#box.apply();
    });
    this.#box.input.addEventListener("input", () => this.#showClear());
    address.addEventListener("change", () => this.show());
    this.show();
  }

  focusSearch() {
    this.#box.focus();
  }

  /** Show calls that failed alone, or all again. */
  toggleErrors() {
    this.#fail(failureOf(this.#box.text) === "yes" ? "" : "yes");
  }

  clear() {
    this.#address.clear();
    this.#box.edit(() => "");
  }

  /** Show the address. */
  show() {
    const filter = this.#address.get("filter");
    for (const [name] of CHOICES) this.#choose(name, valueOf(filter, name));
    this.#choose("error", failureOf(filter));
    const { isZoomed, hasRange } = this.#address;
    this.#choose("range", hasRange && !isZoomed ? this.#address.get("range") : ALL);
    this.#selects.range.hidden = isZoomed;
    this.#chip.hidden = !isZoomed;
    if (isZoomed) this.#showChip();
    this.#showClear();
  }

  /**
   * Say how many events the filter leaves, of how many, since when if not all could be searched.
   *
   * @param {{events: number, searched_from: number|null}|null} totals
   * @param {number|null} stored
   */
  showCount(totals, stored) {
    const text = totals === null ? "" : count(totals.events, "event");
    if (this.#count.textContent !== text) this.#count.textContent = text;
    this.#count.parentElement.classList.toggle("is-busy", totals === null);
    const isWhole = totals !== null && totals.searched_from === null;
    this.#actions.showCount(isWhole ? totals.events : null);
    const since = totals?.searched_from ?? null;
    const isPart = totals !== null && stored !== null && stored > totals.events;
    this.#of.textContent =
      since !== null
        ? ` since ${shortTime(since).replace(/\.\d+$/, "")}`
        : isPart
          ? ` of ${whole(stored)}`
          : "";
    this.#of.title =
      since === null
        ? ""
        : `There is too much text to read all: what arrived before ${fullTime(since)} was not searched.`;
  }

  showPaused(isPaused) {
    this.#pause.textContent = isPaused ? "Resume" : "Pause";
    this.#pause.setAttribute("aria-pressed", String(isPaused));
  }

  /** Read anew what there is to choose from, unless that was done just now. */
  async refresh(isUrgent = false) {
    if (!isUrgent && performance.now() - this.#readAt < STALE) return;
    this.#readAt = performance.now();
    try {
      this.#facets = await readJson("/api/facets");
      for (const [name, label, key] of CHOICES) this.#fillSelect(name, label, this.#facets[key]);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }

  #fail(failure) {
    this.#box.edit((text) => withFailure(text, failure));
  }

  #choose(name, value) {
    const select = this.#selects[name];
    if (![...select.options].some((option) => option.value === value))
      select.append(makeOption(value, value));
    select.value = value;
    const isSet = value !== "" && value !== ALL;
    select.classList.toggle("is-set", isSet);
    if (isSet) select.hidden = false;
  }

  #showChip() {
    const shown = (name) => {
      const time = Number(this.#address.get(name));
      return time ? clock(time) : "…";
    };
    const text = `${shown("since")} – ${shown("until")}`;
    this.#chip.replaceChildren(make("span", { dir: "auto" }, text));
  }

  #showClear() {
    this.#clear.hidden = !this.#address.isFiltered && !this.#box.text;
  }

  #makeSelect(name, label, options, choose) {
    const change = (event) => choose(event.target.value);
    this.#selects[name] = make(
      "select",
      { "aria-label": label, "data-filter": name, on: { change } },
      ...options.map(([value, text]) => makeOption(value, text)),
    );
    this.#selects[name].hidden = name === "kind";
  }

  #fillSelect(name, label, found) {
    const select = this.#selects[name];
    if (document.activeElement === select) return; // it may be open
    const chosen = valueOf(this.#address.get("filter"), name);
    const options = found.map(({ value, count: events }) =>
      makeOption(value, `${value}  (${short(events)})`),
    );
    select.replaceChildren(makeOption("", label), ...options);
    select.hidden = name === "kind" && options.length < 2; // most programs send one kind
    this.#choose(name, chosen);
  }
}

function makeOption(value, text) {
  return make("option", { value }, text);
}
