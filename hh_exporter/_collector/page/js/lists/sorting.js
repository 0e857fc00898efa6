/*
 * How the list is sorted: the heads of its columns, and a menu that has all the ways.
 *
 * It shows what the address says and asks for another; the collector does the sorting.
 */

import { make, makeButton, makeIcon } from "../common/dom.js";
import { className, COLUMNS } from "./columns.js";

const WAYS = {
  "": "Newest first",
  "-time": "Latest start",
  time: "Earliest start",
  "-latency": "Slowest",
  latency: "Fastest",
  "-ttft": "Slowest first token",
  ttft: "Fastest first token",
  "-tokens": "Most tokens",
  tokens: "Fewest tokens",
  "-cost": "Most expensive",
  cost: "Cheapest",
};

/** Whether a text of the address says how to sort. */
export const isWay = (sort) => Object.hasOwn(WAYS, sort);

const LINES = "M3 4.5h10M3 8h7M3 11.5h4";

/** Tells `sort` {sort}: by what, with `-` before it from the highest; "" for the order of arrival. */
export class Sorting extends EventTarget {
  heads;
  menu;
  #choice;
  #sort = "";

  /** Of a table with these columns, sorted in one of these ways: the first unless it is chosen. */
  constructor(columns = COLUMNS, ways = WAYS) {
    super();
    this.heads = columns.map(([name, label, key, title], at) => {
      const head = { class: className(name), role: "columnheader", "aria-colindex": at + 1, title };
      if (!key) return make("span", head, ...label.split(", ").map((part) => make("span", {}, part)));
      const button = makeButton(label, () => this.#turn(button), { class: "head", tabindex: -1 });
      button.dataset.key = key;
      button.addEventListener("keydown", (event) => this.#walk(event));
      return make("span", head, button);
    });
    this.#buttons[0].tabIndex = 0; // one stop, and arrows from there
    const options = Object.entries(ways).map(([value, text]) => make("option", { value }, text));
    const change = () => this.#tell(this.#choice.value);
    this.#choice = make("select", { "aria-label": "Sort", on: { change } }, ...options);
    this.menu = make("label", { class: "sort", title: "Sort" }, makeIcon(LINES, null), this.#choice);
  }

  /** Show how the list is sorted. */
  show(sort) {
    this.#sort = sort;
    this.#choice.value = sort;
    this.menu.classList.toggle("is-set", this.#choice.selectedIndex !== 0);
    for (const button of this.#buttons) {
      if (button.closest(".cell-latency")) {
        const isFirst = sort.endsWith("ttft"); // it stands there while it is what counts
        button.dataset.key = isFirst ? "ttft" : "latency";
        button.textContent = isFirst ? "First token" : "Latency";
      }
      const { key } = button.dataset;
      const way = { [key]: "ascending", [`-${key}`]: "descending" }[sort] ?? "none";
      button.parentElement.setAttribute("aria-sort", way);
    }
  }

  focus() {
    this.#choice.focus();
  }

  get #buttons() {
    return this.heads.flatMap((head) => [...head.querySelectorAll("button")]);
  }

  /** From the highest, then from the lowest, then not at all. */
  #turn(button) {
    const { key } = button.dataset;
    this.#tell(this.#sort === `-${key}` ? key : this.#sort === key ? "" : `-${key}`);
  }

  #walk(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const seen = this.#buttons.filter((button) => button.checkVisibility());
    const next = seen[(seen.indexOf(event.target) + step + seen.length) % seen.length];
    for (const button of this.#buttons) button.tabIndex = button === next ? 0 : -1;
    next.focus();
  }

  #tell(sort) {
    this.dispatchEvent(new CustomEvent("sort", { detail: { sort } }));
  }
}
