/*
 * The sessions as a table: as many rows in the document as can be seen, however many there are.
 *
 * It asks for what others do: for another order, for more rows, and to open a session.
 */

import { readJson } from "../common/api.js";
import { make, makeButton, oncePerFrame } from "../common/dom.js";
import { dollars, duration, fullTime, NONE, short, shortId, shortTime, whole } from "../common/format.js";
import { growTree } from "../trace/branches.js";
import { Sorting } from "./sorting.js";

const OVERSCAN = 6;
const NEAR_END = 40;
const MOST_TO_FIND = 500; // events of a session, among which its root is looked for
const COLUMNS = [
  ["name", "Session", "name"],
  ["user", "User", "user"],
  ["events", "Events", "events"],
  ["tokens", "Tokens", "tokens", "in and out"],
  ["cost", "Cost", "cost"],
  ["errors", "Errors", "errors"],
  ["duration", "Duration", "duration", "from the first start to the last end"],
  ["last", "Last", "last", "when the last event of it arrived"],
];
const WAYS = {
  "-last": "Last active first",
  last: "First active first",
  name: "Name, A to Z",
  "-name": "Name, Z to A",
  user: "User, A to Z",
  "-user": "User, Z to A",
  "-events": "Most events",
  events: "Fewest events",
  "-tokens": "Most tokens",
  tokens: "Fewest tokens",
  "-cost": "Most expensive",
  cost: "Cheapest",
  "-errors": "Most errors",
  errors: "Fewest errors",
  "-duration": "Longest",
  duration: "Shortest",
};

/** Tells `open` {id}, `near-end`, `sort` {sort} and `clear`. */
export class Sessions extends EventTarget {
  activeId = null;

  #section;
  #roster;
  #sorting = new Sorting(COLUMNS, WAYS);
  #grid;
  #head;
  #space = make("div", { class: "list-space", role: "presentation" });
  #note = make("span", { role: "gridcell" });
  #pool = new Map(); // the id of a session -> its row
  #filled = new WeakMap();
  #places = new Map();
  #openId = null;
  #sort = "-last";
  #height = 32;
  #draw = oncePerFrame(() => this.#render());

  constructor(section, roster) {
    super();
    this.#section = section;
    this.#roster = roster;
    this.#head = make("div", { class: "list-head", role: "row", "aria-rowindex": 1 });
    this.#head.append(...this.#sorting.heads);
    const foot = make("div", { class: "list-note", role: "row", hidden: true }, this.#note);
    const attributes = {
      class: "list-grid",
      role: "grid",
      tabindex: 0,
      "aria-label": "Sessions",
      "aria-colcount": COLUMNS.length,
      on: { scroll: this.#draw },
    };
    this.#grid = make("div", attributes, this.#head, this.#space, foot);
    section.append(this.#grid, this.#sorting.menu);
    this.#sorting.addEventListener("sort", ({ detail }) => this.#tell("sort", detail));
    this.#space.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) this.#choose(row.dataset.session);
    });
    roster.addEventListener("change", () => this.#update());
    new ResizeObserver(() => this.#measure()).observe(this.#grid);
  }

  get isShown() {
    return !this.#section.hidden;
  }

  set isShown(isShown) {
    this.#section.hidden = !isShown;
    if (isShown) this.#draw();
  }

  /** How they are sorted: by the last active first, if nothing else is known. */
  get sort() {
    return this.#sort;
  }

  set sort(sort) {
    this.#sort = Object.hasOwn(WAYS, sort) ? sort : "-last";
    this.#sorting.show(this.#sort);
  }

  focus() {
    this.#grid.focus({ preventScroll: true });
  }

  focusSort() {
    this.#sorting.focus();
  }

  follow() {
    this.#grid.scrollTop = 0;
    this.#draw();
  }

  /** Forget the place: other sessions are read. */
  reset() {
    for (const element of this.#pool.values()) element.remove();
    this.#pool.clear();
    this.activeId = null;
    this.follow();
  }

  /** Mark the session whose event is open, null for none. */
  markOpen(id) {
    this.#openId = id;
    if (id !== null) this.activeId = id;
    this.#draw();
  }

  /** Make the row `step` further down the active one, and say which session that is. */
  move(step) {
    const { rows } = this.#roster;
    if (!rows.length) return null;
    const place = this.#places.get(this.activeId) ?? -1;
    const first = Math.ceil(this.#grid.scrollTop / this.#height);
    const next = place < 0 ? first : place + step;
    const at = Math.max(0, Math.min(rows.length - 1, next));
    this.activeId = rows[at].session_id;
    this.#reveal(at);
    this.#draw();
    return this.activeId;
  }

  #update() {
    const { rows, isLoading, problem, searchedFrom } = this.#roster;
    const anchor = [...this.#places].find(([, place]) => place === this.#firstSeen())?.[0];
    const before = this.#places.get(anchor);
    this.#places = new Map(rows.map((row, place) => [row.session_id, place]));
    const after = this.#places.get(anchor);
    if (this.#grid.scrollTop > 0 && after !== undefined && after !== before) {
      this.#space.style.height = `${rows.length * this.#height}px`;
      this.#grid.scrollTop += (after - before) * this.#height; // what is looked at stays
    }
    this.#showNote(
      problem ||
        (isLoading
          ? ""
          : rows.length === 0
            ? "No session has an event that matches. "
            : searchedFrom === null
              ? ""
              : `Sessions of events before ${fullTime(searchedFrom)} are not among these: there is too much text to search it all.`),
      rows.length === 0 && !isLoading,
    );
    this.#draw();
  }

  #showNote(text, isEmpty) {
    if (this.#note.dataset.text === text) return;
    this.#note.dataset.text = text;
    this.#note.parentElement.hidden = !text;
    const clear = makeButton("Clear all filters", () => this.#tell("clear"));
    this.#note.replaceChildren(text, ...(isEmpty ? [clear] : []));
  }

  #choose(id) {
    this.activeId = id;
    this.#draw();
    this.#tell("open", { id });
  }

  #firstSeen() {
    return Math.floor(this.#grid.scrollTop / this.#height);
  }

  #reveal(place) {
    const top = place * this.#height;
    const { scrollTop } = this.#grid;
    const seen = this.#grid.clientHeight - this.#head.offsetHeight;
    if (top < scrollTop) this.#grid.scrollTop = top;
    else if (top + this.#height > scrollTop + seen)
      this.#grid.scrollTop = top + this.#height - seen;
  }

  #measure() {
    if (!this.isShown) return;
    const height = parseFloat(getComputedStyle(this.#grid).getPropertyValue("--row-height"));
    if (height && height !== this.#height) {
      this.#grid.scrollTop *= height / this.#height;
      this.#height = height;
    }
    this.#draw();
  }

  #render() {
    if (!this.isShown) return;
    const { rows } = this.#roster;
    this.#space.style.height = `${rows.length * this.#height}px`;
    this.#grid.setAttribute("aria-rowcount", String(rows.length + 1));
    const from = Math.max(0, this.#firstSeen() - OVERSCAN);
    const seen = Math.ceil(this.#grid.clientHeight / this.#height) + 1 + 2 * OVERSCAN;
    const shown = rows.slice(from, from + seen);
    const wanted = new Set(shown.map((row) => row.session_id));
    for (const [id, element] of this.#pool) {
      if (wanted.has(id)) continue;
      this.#pool.delete(id);
      element.remove();
    }
    for (const [at, row] of shown.entries()) this.#place(row, from + at);
    const active = this.#pool.get(this.activeId);
    if (active) this.#grid.setAttribute("aria-activedescendant", active.id);
    else this.#grid.removeAttribute("aria-activedescendant");
    if (rows.length - from - seen < NEAR_END) this.#tell("near-end");
  }

  #place(row, place) {
    const id = row.session_id;
    let element = this.#pool.get(id);
    if (element === undefined) {
      element = makeRow(id);
      this.#pool.set(id, element);
      this.#space.append(element);
    }
    if (this.#filled.get(element) !== row) {
      fillRow(element, row);
      this.#filled.set(element, row);
    }
    element.style.transform = `translateY(${place * this.#height}px)`;
    element.id = `session-${place}`;
    element.setAttribute("aria-rowindex", String(place + 2));
    element.setAttribute("aria-selected", String(id === this.#openId));
    element.classList.toggle("is-active", id === this.activeId);
    element.classList.toggle("is-open", id === this.#openId);
  }

  #tell(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Find the row of the event that a session begins with; null if it has none. */
export async function rootOf(id) {
  const path = `/api/sessions/${encodeURIComponent(id)}`;
  const { events } = await readJson(path, { limit: MOST_TO_FIND });
  return growTree(events)[0]?.event.id ?? null;
}

function makeRow(id) {
  const cells = COLUMNS.map(([name], at) =>
    make("span", { class: `cell cell-${name}`, role: "gridcell", "aria-colindex": at + 1 }),
  );
  return make("div", { class: "row", role: "row", "data-session": id }, ...cells);
}

function fillRow(element, row) {
  const [name, user, events, tokens, cost, errors, length, last] = element.children;
  name.replaceChildren(
    make("b", { dir: "auto", class: row.name ? null : "mono" }, row.name || shortId(row.session_id)),
  );
  name.title = [row.name, row.session_id, row.user].filter(Boolean).join("\n");
  fill(user, row.user, row.user ?? "");
  fill(events, whole(row.events), "", row.events === 1 ? " event" : " events");
  fill(tokens, row.tokens === null ? null : short(row.tokens), `${whole(row.tokens)} tokens`, " tokens");
  fill(cost, row.cost === null ? null : dollars(row.cost));
  fill(errors, row.errors ? whole(row.errors) : null, "", row.errors === 1 ? " error" : " errors");
  errors.classList.toggle("bad", row.errors > 0);
  fill(length, row.duration === null ? null : duration(row.duration));
  fill(last, shortTime(row.last).replace(/\.\d+$/, ""), `began ${fullTime(row.start)}\nlast event arrived ${fullTime(row.last)}`);
}

/** A value; its unit shows where there are no heads. */
function fill(cell, text, title = "", unit = "") {
  const shown = text === null || text === NONE || text === "" ? null : text;
  cell.replaceChildren(shown ?? NONE, ...(shown && unit ? [make("span", { class: "unit" }, unit)] : []));
  cell.title = shown ? title : "";
  cell.classList.toggle("none", shown === null);
}
