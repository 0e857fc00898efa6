/*
 * A tree of events on one time axis, as the ARIA pattern "tree view" has it.
 *
 * As many rows are in the document as can be seen, however many there are, and always the one
 * that the keyboard is at. An element belongs to an event, so that it keeps the focus wherever
 * the event moves.
 */

import { make, oncePerFrame } from "../common/dom.js";
import { unfold } from "./branches.js";
import { fillRow } from "./treerow.js";

const OVERSCAN = 10;

/** Tells `open` {id}. */
export class Tree extends EventTarget {
  element = make("div", { class: "tree", role: "tree", "aria-label": "Events of this session" });

  #top = [];
  #seen = []; // {node, level, rails}, from top to bottom
  #places = new Map(); // the id of a row -> its place among the seen
  #scale = { from: 0, to: 0 };
  #folded = new Set();
  #activeId = null;
  #openId = null;
  #pool = new Map(); // the id of a row -> its element
  #scroller = null;
  #height = 30;
  #draw = oncePerFrame(() => this.#render());
  #resized = new ResizeObserver(() => this.#measure());

  constructor() {
    super();
    this.element.addEventListener("keydown", (event) => this.#press(event));
    this.element.addEventListener("click", (event) => this.#click(event));
    this.element.addEventListener("focusin", (event) => {
      const row = event.target.closest(".tree-row");
      if (row) this.#activate(Number(row.dataset.id));
    });
    this.#resized.observe(this.element);
  }

  /** Be within this element, which scrolls. */
  mount(scroller) {
    this.#scroller?.removeEventListener("scroll", this.#draw);
    this.#scroller = scroller;
    scroller.addEventListener("scroll", this.#draw, { passive: true });
    this.#draw();
  }

  /** Show this tree, from one time to another; what the reader sees stays where it is. */
  show(top, scale) {
    const anchor = this.#seen[this.#firstSeen()]?.node.event.id;
    const before = this.#places.get(anchor);
    this.#top = top;
    this.#scale = scale;
    this.#unfold();
    const after = this.#places.get(anchor);
    if (this.#scroller?.scrollTop > 0 && before !== undefined && after !== undefined)
      this.#scroller.scrollTop += (after - before) * this.#height;
  }

  /** Mark the event that is open, and unfold what it is in. */
  markOpen(id) {
    this.#openId = id;
    this.#activeId = id;
    for (let node = this.#find(id)?.parent ?? null; node !== null; node = node.parent)
      this.#folded.delete(node.event.id);
    this.#unfold();
  }

  /** Scroll to where the keyboard is. */
  reveal() {
    const place = this.#places.get(this.#activeId);
    if (place === undefined || this.#scroller === null) return;
    const frame = this.#scroller.getBoundingClientRect();
    const top = this.element.getBoundingClientRect().top - frame.top + place * this.#height;
    if (top < 0) this.#scroller.scrollTop += top;
    else if (top + this.#height > frame.height)
      this.#scroller.scrollTop += top + this.#height - frame.height;
    this.#render();
  }

  focus() {
    this.#render();
    this.#pool.get(this.#activeId)?.focus({ preventScroll: true });
  }

  #find(id) {
    const waiting = [...this.#top];
    for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
      if (node.event.id === id) return node;
      for (const child of node.children) waiting.push(child);
    }
    return null;
  }

  #unfold() {
    this.#seen = unfold(this.#top, this.#folded);
    this.#places = new Map(this.#seen.map(({ node }, place) => [node.event.id, place]));
    if (!this.#places.has(this.#activeId)) this.#activeId = this.#seen[0]?.node.event.id ?? null;
    this.element.style.height = `${this.#seen.length * this.#height}px`;
    this.#draw();
  }

  #fold(id, isFolded) {
    if (isFolded) this.#folded.add(id);
    else this.#folded.delete(id);
    this.#unfold();
  }

  #activate(id) {
    if (this.#activeId === id) return;
    this.#activeId = id;
    this.#draw();
  }

  #click({ target }) {
    const row = target.closest(".tree-row");
    if (row === null) return;
    const id = Number(row.dataset.id);
    this.#activate(id);
    if (target.closest(".twisty") && row.ariaExpanded !== null)
      this.#fold(id, row.ariaExpanded === "true");
    else this.#open(id);
  }

  #press(event) {
    const place = this.#places.get(this.#activeId);
    if (place === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    const { node } = this.#seen[place];
    const { id } = node.event;
    const isOpen = node.children.length > 0 && !this.#folded.has(id);
    const act = {
      ArrowDown: () => this.#goTo(place + 1),
      ArrowUp: () => this.#goTo(place - 1),
      ArrowRight: () => {
        if (isOpen) this.#goTo(place + 1);
        else if (node.children.length) this.#fold(id, false);
      },
      ArrowLeft: () => {
        if (isOpen) this.#fold(id, true);
        else if (node.parent !== null) this.#goTo(this.#places.get(node.parent.event.id));
      },
      Home: () => this.#goTo(0),
      End: () => this.#goTo(this.#seen.length - 1),
      "*": () => this.#unfoldLevel(node),
      Enter: () => this.#open(id),
      " ": () => this.#open(id),
    }[event.key];
    if (act === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  #goTo(place) {
    if (this.#seen[place] === undefined) return;
    this.#activeId = this.#seen[place].node.event.id;
    this.reveal();
    this.focus();
  }

  #unfoldLevel(node) {
    for (const { event } of node.parent?.children ?? this.#top) this.#folded.delete(event.id);
    this.#unfold();
  }

  #open(id) {
    this.dispatchEvent(new CustomEvent("open", { detail: { id } }));
  }

  #measure() {
    if (!this.element.isConnected) return; // another tab is shown, where it has no style
    this.#height = parseFloat(getComputedStyle(this.element).getPropertyValue("--row-height"));
    this.element.style.height = `${this.#seen.length * this.#height}px`;
    this.#draw();
  }

  /** The place of the first row that is in the frame. */
  #firstSeen() {
    if (this.#scroller === null || !this.element.isConnected) return 0;
    const frame = this.#scroller.getBoundingClientRect();
    const above = frame.top - this.element.getBoundingClientRect().top;
    return Math.max(0, Math.floor(above / this.#height));
  }

  #render() {
    if (!this.element.isConnected || this.#scroller === null) return;
    const first = this.#firstSeen();
    const rows = Math.ceil(this.#scroller.clientHeight / this.#height);
    const from = Math.max(0, first - OVERSCAN);
    const to = Math.min(this.#seen.length, first + rows + OVERSCAN);
    const active = this.#places.get(this.#activeId);
    const wanted = new Map(); // from top to bottom
    if (active < from) wanted.set(this.#activeId, active);
    for (let place = from; place < to; place += 1)
      wanted.set(this.#seen[place].node.event.id, place);
    if (active >= to) wanted.set(this.#activeId, active);
    for (const [id, row] of this.#pool) {
      if (wanted.has(id)) continue;
      this.#pool.delete(id);
      row.remove();
    }
    let above = null;
    for (const [id, place] of wanted) above = this.#place(id, place, above);
  }

  #place(id, place, above) {
    const { node, level } = this.#seen[place];
    let row = this.#pool.get(id);
    if (row === undefined) {
      row = make("div", { class: "tree-row", role: "treeitem", "data-id": id });
      this.#pool.set(id, row);
      if (above === null) this.element.prepend(row);
      else above.after(row);
    }
    const isFolded = node.children.length > 0 && this.#folded.has(id);
    fillRow(row, this.#seen[place], this.#scale, isFolded);
    row.style.top = `${place * this.#height}px`;
    row.style.setProperty("--level", String(level - 1));
    row.tabIndex = id === this.#activeId ? 0 : -1;
    row.ariaLevel = String(level);
    row.ariaPosInSet = String(node.place);
    row.ariaSetSize = String((node.parent?.children ?? this.#top).length);
    row.ariaExpanded = node.children.length ? String(!isFolded) : null;
    row.ariaSelected = String(id === this.#openId);
    return row;
  }
}
