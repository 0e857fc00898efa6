/*
 * The list: as many rows in the document as can be seen, however many there are.
 *
 * A row of the document belongs to a sequence number, so that rows which only move are not made
 * anew; what stands still for the reader stays where it is while others arrive above.
 */

import { make, makeButton, oncePerFrame } from "../common/dom.js";
import { whole } from "../common/format.js";
import { COLUMNS, fillRow, makeRow } from "./columns.js";
import { Sorting } from "./sorting.js";

const OVERSCAN = 6;
const NEAR_END = 40; // rows before the end at which older ones are read
const MOST_MARKED = 20; // more arrivals at once than this are not marked as new

/** Tells `open` {id} when a row is chosen, `near-end`, `sort` {sort} and `reopen`. */
export class List extends EventTarget {
  activeId = null;
  openId = null;

  #rows;
  #grid;
  #head;
  #space;
  #note;
  #newButton;
  #sorting = new Sorting();
  #sort = "";
  #waiting = 0; // events that a sorted list does not have yet
  #pool = new Map(); // sequence number -> element
  #spare = [];
  #height = 32;
  #newerThan = Infinity;
  #filled = new WeakMap(); // the row that each element shows: more may be known of it later
  #anchor = null; // {id, place} of the first row that is seen
  #draw = oncePerFrame(() => this.#render());

  constructor(section, rows) {
    super();
    this.#rows = rows;
    this.#space = make("div", { class: "list-space", role: "presentation" });
    this.#head = make(
      "div",
      { class: "list-head", role: "row", "aria-rowindex": 1 },
      ...this.#sorting.heads,
    );
    this.#note = make("span", { role: "gridcell" });
    const attributes = {
      class: "list-grid",
      role: "grid",
      tabindex: 0, // what scrolls is a stop in any case
      "aria-label": "Events",
      "aria-colcount": COLUMNS.length,
      on: { scroll: () => this.#draw() },
    };
    this.#grid = make(
      "div",
      attributes,
      this.#head,
      this.#space,
      make("div", { class: "list-note", role: "row", hidden: true }, this.#note),
    );
    const attributesOfNew = { class: "new-events", hidden: true };
    this.#newButton = makeButton("", () => this.follow(), attributesOfNew);
    section.append(this.#grid, this.#sorting.menu, this.#newButton);
    this.#sorting.addEventListener("sort", ({ detail }) =>
      this.dispatchEvent(new CustomEvent("sort", { detail })),
    );
    this.#sorting.show("");
    this.#space.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) this.#choose(Number(row.dataset.id));
    });
    new ResizeObserver(() => this.#measure()).observe(this.#grid);
  }

  get isShown() {
    return !this.#grid.hidden;
  }

  set isShown(isShown) {
    this.#grid.hidden = !isShown;
    this.#sorting.menu.hidden = !isShown;
    if (isShown) this.#draw();
    else this.#newButton.hidden = true;
  }

  /** Say how the rows are sorted, "" for the order of arrival. */
  set sort(sort) {
    this.#sort = sort;
    this.#sorting.show(sort);
  }

  /** Say how many events arrived that a sorted list does not have. */
  set waiting(waiting) {
    if (waiting === this.#waiting) return;
    this.#waiting = waiting;
    this.#draw();
  }

  /** What stands below the last row, "" for nothing. */
  set note(text) {
    if (this.#note.textContent !== text) this.#note.textContent = text;
    this.#note.parentElement.hidden = !text;
  }

  focus() {
    this.#grid.focus({ preventScroll: true });
  }

  focusSort() {
    this.#sorting.focus();
  }

  /** Go to the top, and first read again a sorted list that lacks events. */
  follow() {
    if (this.#waiting) this.dispatchEvent(new CustomEvent("reopen"));
    else this.toTop();
    this.focus(); // the button that was pressed goes away
  }

  toTop() {
    this.#grid.scrollTop = 0;
    this.#draw();
  }

  /** Draw again after rows came or went, wherever; `added` of them on top if they are new. */
  update({ added, isNew }) {
    this.#holdStill();
    const isFew = isNew && added > 0 && added <= MOST_MARKED && this.#rows.size > added;
    this.#newerThan = isFew ? this.#rows.sequenceAt(added) : Infinity;
    this.#draw();
  }

  /** Forget all rows of the document: other events have their sequence numbers now. */
  reset() {
    for (const element of this.#pool.values()) element.remove();
    this.#pool.clear();
    this.#anchor = null;
    this.activeId = this.openId;
    this.toTop();
  }

  /** Mark the row of the event that is open, null for none. */
  markOpen(id) {
    this.openId = id;
    if (id !== null) this.activeId = id;
    this.#draw();
  }

  /** Make the row `step` further down the active one, and say its id. */
  move(step) {
    if (!this.#rows.size) return null;
    const place = this.activeId === null ? -1 : this.#rows.placeOf(this.activeId);
    const first = Math.ceil(this.#grid.scrollTop / this.#height);
    const next = place < 0 ? first : Math.max(0, Math.min(this.#rows.size - 1, place + step));
    this.activeId = this.#rows.at(next).id;
    this.#reveal(next);
    this.#draw();
    return this.activeId;
  }

  /** Scroll by as much as the first row that is seen has moved, unless that is the newest. */
  #holdStill() {
    if (this.#anchor === null || this.#grid.scrollTop <= 0) return;
    const place = this.#rows.placeOf(this.#anchor.id);
    if (place < 0) return;
    this.#space.style.height = `${this.#rows.size * this.#height}px`;
    this.#grid.scrollTop += (place - this.#anchor.place) * this.#height;
    this.#anchor.place = place;
  }

  #choose(id) {
    this.activeId = id;
    this.dispatchEvent(new CustomEvent("open", { detail: { id } }));
  }

  #reveal(place) {
    const top = place * this.#height;
    const { scrollTop } = this.#grid;
    const seen = this.#grid.clientHeight - this.#head.offsetHeight; // the head covers what is below it
    if (top < scrollTop) this.#grid.scrollTop = top;
    else if (top + this.#height > scrollTop + seen)
      this.#grid.scrollTop = top + this.#height - seen;
  }

  #measure() {
    const height = parseFloat(getComputedStyle(this.#grid).getPropertyValue("--row-height"));
    if (height && height !== this.#height) {
      this.#grid.scrollTop *= height / this.#height;
      this.#height = height;
    }
    this.#draw();
  }

  #render() {
    if (!this.isShown) return;
    const { scrollTop, clientHeight } = this.#grid;
    const size = this.#rows.size;
    this.#space.style.height = `${size * this.#height}px`;
    this.#grid.setAttribute("aria-rowcount", String(size + 1));
    const from = Math.max(0, Math.floor(scrollTop / this.#height) - OVERSCAN);
    const to = Math.min(size, Math.ceil((scrollTop + clientHeight) / this.#height) + OVERSCAN);
    const first = Math.min(size - 1, Math.floor(scrollTop / this.#height));
    this.#anchor = size ? { id: this.#rows.at(first).id, place: first } : null;
    this.#letGo(from, to);
    for (let place = from; place < to; place += 1) this.#place(place);
    this.#grid.toggleAttribute("data-top", scrollTop <= 0);
    const active = this.activeId === null ? -1 : this.#rows.placeOf(this.activeId);
    const isThere = active >= from && active < to;
    if (isThere) this.#grid.setAttribute("aria-activedescendant", `row-${this.activeId}`);
    else this.#grid.removeAttribute("aria-activedescendant");
    this.#newButton.hidden = !this.#waiting && scrollTop < this.#height * 30;
    const back = this.#sort ? "↑ Back to the top" : "↑ Back to the newest";
    this.#newButton.textContent = this.#waiting ? `${whole(this.#waiting)} new` : back;
    if (size - to < NEAR_END) this.dispatchEvent(new CustomEvent("near-end"));
  }

  /** Take out of the document what is not seen any more. */
  #letGo(from, to) {
    const newest = this.#rows.size ? this.#rows.sequenceAt(from) : -Infinity;
    const oldest = this.#rows.size ? this.#rows.sequenceAt(to - 1) : Infinity;
    for (const [sequence, element] of this.#pool) {
      if (sequence <= newest && sequence >= oldest) continue;
      this.#pool.delete(sequence);
      element.remove();
      if (this.#spare.length < 100) this.#spare.push(element);
    }
  }

  #place(place) {
    const row = this.#rows.at(place);
    const sequence = this.#rows.sequenceAt(place);
    let element = this.#pool.get(sequence);
    if (element === undefined) {
      element = this.#spare.pop() ?? makeRow();
      this.#pool.set(sequence, element);
      this.#space.append(element);
      element.classList.toggle("is-new", sequence > this.#newerThan);
    }
    if (this.#filled.get(element) !== row) {
      fillRow(element, row, this.#sort);
      this.#filled.set(element, row);
    }
    element.style.transform = `translateY(${place * this.#height}px)`;
    element.setAttribute("aria-rowindex", String(place + 2));
    element.classList.toggle("is-active", row.id === this.activeId);
    element.classList.toggle("is-open", row.id === this.openId);
    element.setAttribute("aria-selected", String(row.id === this.openId));
  }
}
