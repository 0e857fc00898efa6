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

export class Address extends EventTarget {
  #values = read();

  constructor() {
    super();
    const follow = () => {
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
    const fragment = String(new URLSearchParams([...this.#values]));
    if (`#${fragment}` === (location.hash || "#")) return;
    const address = fragment ? `#${fragment}` : location.pathname;
    if (step) history.pushState(null, "", address);
    else history.replaceState(null, "", address);
    this.#tell(before);
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
  const values = [...new URLSearchParams(location.hash.slice(1))];
  return new Map(
    values.filter(([name, value]) => known.has(name) && value && value.length <= LONGEST),
  );
}
