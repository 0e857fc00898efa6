/*
 * What is looked at, as the fragment of the address: filter, range, order, open event, tab.
 *
 * It alone reads and writes the location, so that a copied link shows the same and "back" works.
 */

import { ALL, lengthOf } from "./range.js";

/** What says which events are looked at. */
export const FILTERS = ["filter", "since", "until", "range"];
const OTHERS = ["sort", "view", "by", "event", "tab"];
const LONGEST = 2_000;
const TIMES = new Set(["since", "until"]);
const PAUSE = 100; // Chromium takes no more than 200 changes of the location in 10 s

export class Address extends EventTarget {
  #values = read();
  #timer = 0;
  #isBehind = false; // the location

  constructor() {
    super();
    const follow = () => {
      this.#isBehind = false;
      const before = this.#values;
      this.#values = read();
      this.#tell(before);
    };
    addEventListener("popstate", follow);
    addEventListener("hashchange", follow);
  }

  get(name) {
    return this.#values.get(name) ?? "";
  }

  /** What the API takes to leave these events alone: a named range is counted back from now. */
  get filters() {
    const given = ["filter", "since", "until"].filter((name) => this.get(name));
    const filters = Object.fromEntries(given.map((name) => [name, this.get(name)]));
    const length = lengthOf(this.get("range"));
    if (this.isZoomed || length === null) return filters;
    return { ...filters, since: String(Date.now() - length) };
  }

  /** Whether a stretch of time of its own was chosen, in place of a named range. */
  get isZoomed() {
    return Boolean(this.get("since") || this.get("until"));
  }

  get isFiltered() {
    return this.hasRange || Boolean(this.get("filter"));
  }

  get hasRange() {
    return this.isZoomed || lengthOf(this.get("range")) !== null;
  }

  /** Look at all events, or at these of all times. */
  clear({ filter = null } = {}) {
    this.set({ filter, since: null, until: null, range: null }, { step: true });
  }

  /** Look at a named range. */
  setRange(range) {
    this.set({ range: range === ALL ? null : range, since: null, until: null }, { step: true });
  }

  /**
   * Change some values; an empty one is taken out.
   *
   * @param {Record<string, string|number|null>} changes
   * @param {{step?: boolean}} [options] step: "back" undoes it
   */
  set(changes, { step = false } = {}) {
    const before = this.#values;
    this.#values = new Map(before);
    for (const [name, value] of Object.entries(changes)) {
      const text = String(value ?? "").slice(0, LONGEST);
      if (text) this.#values.set(name, text);
      else this.#values.delete(name);
    }
    if (textOf(this.#values) === textOf(before)) return;
    if (step) {
      if (this.#isBehind) this.#write(before);
      history.pushState(null, "", addressOf(this.#values));
    } else {
      this.#isBehind = true;
      this.#writeSoon();
    }
    this.#tell(before);
  }

  /** At once, but not again until a while after: a key may be held down. */
  #writeSoon() {
    if (this.#timer) return;
    this.#write(this.#values);
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      if (this.#isBehind) this.#writeSoon();
    }, PAUSE);
  }

  #write(values) {
    this.#isBehind = false;
    history.replaceState(null, "", addressOf(values));
  }

  #tell(before) {
    const changed = [...FILTERS, ...OTHERS].filter(
      (name) => (before.get(name) ?? "") !== this.get(name),
    );
    if (changed.length) this.dispatchEvent(new CustomEvent("change", { detail: new Set(changed) }));
  }
}

function read() {
  const known = new Set([...FILTERS, ...OTHERS]);
  const isValue = (name, value) =>
    known.has(name) &&
    value.length <= LONGEST &&
    (TIMES.has(name) ? /^\d{1,15}$/.test(value) : value !== "");
  const values = [...new URLSearchParams(location.hash.slice(1))];
  return new Map(values.filter(([name, value]) => isValue(name, value)));
}

function textOf(values) {
  return String(new URLSearchParams([...values]));
}

function addressOf(values) {
  return values.size ? `#${textOf(values)}` : location.pathname;
}
