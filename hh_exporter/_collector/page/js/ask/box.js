/*
 * The box of the filter's text: typed, completed, edited by choices.
 *
 * A text goes into the address only once the collector has understood it; until then what is shown
 * stays as it was, and what is wrong stands beneath the box.
 */

import { ApiError, readJson } from "../common/api.js";
import { make, makeButton } from "../common/dom.js";
import { Combobox } from "./combobox.js";
import { beginsKey, completionsOf } from "./completions.js";
import { isUnfinished } from "./query.js";

const TYPED = 250; // milliseconds after the last letter
const MAYBE_KEY = 1_000;
const LONGEST = 2_000;

/** Tells `help`. */
export class Box extends EventTarget {
  element;
  problem = make("p", { class: "filter-problem", id: "filter-problem", role: "alert" });

  #address;
  #input;
  #shown; // the text that the address was last known to have
  #turn = 0; // of the text that counts
  #timer = 0;

  /** @param {() => Record<string, {value: string, count: number}[]>} facets */
  constructor(address, facets) {
    super();
    this.#address = address;
    this.problem.hidden = true;
    this.#input = make("input", {
      type: "text",
      id: "search",
      placeholder: "Search, or filter: model:gpt-4o latency>2s",
      "aria-label": "Filter",
      "aria-describedby": "filter-problem",
      autocomplete: "off",
      autocapitalize: "off",
      enterkeyhint: "search",
      spellcheck: "false",
      maxlength: LONGEST,
      on: { input: () => this.#applySoon() },
    });
    const combobox = new Combobox(this.#input, (text, caret) =>
      completionsOf(text, caret, facets()),
    );
    const help = makeButton("?", () => this.dispatchEvent(new CustomEvent("help")), {
      class: "quiet search-help",
      title: "How to filter",
      "aria-label": "How to filter",
    });
    this.element = make(
      "div",
      { class: "search" },
      this.#input,
      make("kbd", { "aria-hidden": "true" }, "/"),
      help,
      combobox.list,
    );
    address.addEventListener("change", () => this.#follow());
    this.#follow();
  }

  get text() {
    return this.#input.value.trim();
  }

  get input() {
    return this.#input;
  }

  focus() {
    this.#input.focus();
    this.#input.select();
  }

  /** Change the text as `change` says, and apply it. */
  edit(change) {
    this.#input.value = change(this.text);
    this.apply();
  }

  /** Apply what was typed once it is a filter: sooner, unless it may become a key. */
  #applySoon() {
    clearTimeout(this.#timer);
    const delay = beginsKey(this.#input.value) ? MAYBE_KEY : TYPED;
    this.#timer = setTimeout(() => {
      if (!isUnfinished(this.#input.value)) this.apply();
    }, delay);
  }

  /** Have the text looked at by the collector, and then by all. */
  async apply() {
    clearTimeout(this.#timer);
    this.#turn += 1;
    const turn = this.#turn;
    const filter = this.text;
    if (filter !== this.#address.get("filter")) {
      try {
        const { problem } = await readJson("/api/filter", { filter });
        if (turn !== this.#turn) return;
        if (problem !== null) {
          this.#showProblem(problem);
          return;
        }
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (turn !== this.#turn) return; // it can't be asked now: it is applied once it can
      }
    }
    this.#showProblem("");
    this.#shown = filter;
    this.#address.set({ filter });
  }

  /** Say what is wrong with the text; nothing with "". */
  #showProblem(message) {
    this.problem.textContent = message;
    this.problem.hidden = !message;
    if (message) this.#input.setAttribute("aria-invalid", "true");
    else this.#input.removeAttribute("aria-invalid");
  }

  /** Show what somebody else has put into the address. */
  #follow() {
    const filter = this.#address.get("filter");
    if (filter === this.#shown) return;
    this.#turn += 1;
    this.#shown = filter;
    this.#input.value = filter;
    this.#showProblem("");
  }
}
