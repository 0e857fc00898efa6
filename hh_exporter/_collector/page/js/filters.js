/*
 * The bar of filters: what the address holds, as fields.
 *
 * A field never keeps a value of its own: it shows the address and asks it to change.
 */

import { ApiError, readJson } from "./api.js";
import { make, makeButton, onceQuiet } from "./dom.js";
import { clock, short, shortId } from "./format.js";
import { isUnfinished } from "./query.js";

const TYPED = 200;
const STALE = 5_000;
const CHOICES = [
  ["type", "Kind", "types"],
  ["model", "Model", "models"],
  ["provider", "Provider", "providers"],
  ["source", "Source", "sources"],
];
const ERRORS = [
  ["", "All events"],
  ["yes", "Errors"],
  ["no", "No errors"],
];

/** Tells `pause`. */
export class Filters extends EventTarget {
  #address;
  #search;
  #selects = {};
  #chips;
  #count;
  #pause;
  #readAt = -Infinity;

  constructor(form, address) {
    super();
    this.#address = address;
    const searchSoon = onceQuiet(TYPED, () => {
      const text = this.#search.value.trim();
      if (!isUnfinished(text)) address.set({ text });
    });
    this.#search = make("input", {
      type: "search",
      id: "search",
      placeholder: "Search in events",
      "aria-label": "Search in events",
      autocomplete: "off",
      spellcheck: "false",
      maxlength: 200,
      on: { input: searchSoon },
    });
    const selects = CHOICES.map(([name, label]) => this.#makeSelect(name, [["", label]], label));
    this.#chips = make("span", { class: "chips" });
    this.#count = make("span", { class: "count", id: "count", role: "status" });
    this.#pause = makeButton("Pause", () => this.dispatchEvent(new CustomEvent("pause")), {
      id: "pause",
      title: "Pause the list (p)",
    });
    form.append(
      make("label", { class: "search" }, this.#search, make("kbd", { "aria-hidden": "true" }, "/")),
      ...selects,
      this.#makeSelect("error", ERRORS, "Errors"),
      this.#chips,
      make("span", { class: "filters-end" }, this.#count, this.#pause),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      address.set({ text: this.#search.value.trim() });
    });
    address.addEventListener("change", () => this.show());
    this.show();
  }

  focusSearch() {
    this.#search.focus();
    this.#search.select();
  }

  /** Show the address. */
  show() {
    if (document.activeElement !== this.#search || !this.#address.get("text")) {
      if (this.#search.value.trim() !== this.#address.get("text"))
        this.#search.value = this.#address.get("text");
    }
    for (const [name, select] of Object.entries(this.#selects)) {
      const value = this.#address.get(name);
      if (![...select.options].some((option) => option.value === value))
        select.append(makeOption(value, value));
      select.value = value;
      select.classList.toggle("is-set", value !== "");
      if (value) select.hidden = false;
    }
    this.#chips.replaceChildren(...this.#makeChips());
    this.#chips.hidden = !this.#chips.childElementCount;
  }

  showCount(text) {
    if (this.#count.textContent !== text) this.#count.textContent = text;
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
      const facets = await readJson("/api/facets");
      for (const [name, label, key] of CHOICES) this.#fillSelect(name, label, facets[key]);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }

  #makeSelect(name, options, label) {
    const change = (event) => this.#address.set({ [name]: event.target.value });
    const attributes = { "aria-label": label, "data-filter": name, on: { change } };
    this.#selects[name] = make(
      "select",
      attributes,
      ...options.map(([value, text]) => makeOption(value, text)),
    );
    this.#selects[name].hidden = name === "type" && !this.#address.get(name);
    return this.#selects[name];
  }

  #fillSelect(name, label, found) {
    const select = this.#selects[name];
    if (document.activeElement === select) return; // it may be open
    const chosen = this.#address.get(name);
    const options = found.map(({ value, count }) =>
      makeOption(value, `${value}  (${short(count)})`),
    );
    if (chosen && !found.some(({ value }) => value === chosen))
      options.push(makeOption(chosen, chosen));
    select.replaceChildren(makeOption("", label), ...options);
    select.value = chosen;
    select.hidden = name === "type" && options.length < 2 && !chosen; // most programs send one kind
  }

  #makeChips() {
    const { session, since, until } = this.#address.filters;
    const chips = [];
    const add = (label, names, title) => {
      const clear = () => this.#address.set(Object.fromEntries(names.map((name) => [name, null])));
      chips.push(makeButton("", clear, { class: "chip", title: `${title}: click to clear` }));
      chips.at(-1).append(make("span", { dir: "auto" }, label));
    };
    if (session) add(`session ${shortId(session)}`, ["session"], session);
    if (since || until) {
      const shown = (value) => (value ? clock(Number(value)) : "…");
      add(`${shown(since)} – ${shown(until)}`, ["since", "until"], "Time");
    }
    return chips;
  }
}

function makeOption(value, text) {
  return make("option", { value }, text);
}
