/*
 * What is looked at, as the fragment of the address: filters, open event, tab, range of the charts.
 *
 * It alone reads and writes the location, so that a copied link shows the same and "back" works.
 */

/** What the API takes as it stands here. */
export const FILTERS = [
  "text",
  "model",
  "provider",
  "source",
  "session",
  "error",
  "type",
  "since",
  "until",
];
const OTHERS = ["event", "tab", "range", "by", "sort"];
const LONGEST = 500;

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

  /** The filters that are set, by their names. */
  get filters() {
    return Object.fromEntries(
      FILTERS.filter((name) => this.get(name)).map((name) => [name, this.get(name)]),
    );
  }

  get isFiltered() {
    return FILTERS.some((name) => this.get(name));
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
