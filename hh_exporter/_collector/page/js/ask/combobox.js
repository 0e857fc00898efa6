/*
 * A field of text that offers how to go on, as the ARIA pattern of a combobox with a list.
 *
 * The focus stays in the field. Nothing is taken that was not chosen: Enter without a choice is
 * the field's own.
 */

import { make } from "../common/dom.js";

let made = 0;

export class Combobox {
  list;

  #input;
  #complete;
  #options = [];
  #active = -1;

  /**
   * @param {HTMLInputElement} input
   * @param {(text: string, caret: number) => {label: string, note: string, insert: string,
   *   from: number, to: number}[]} complete
   */
  constructor(input, complete) {
    this.#input = input;
    this.#complete = complete;
    made += 1;
    const id = `completions-${made}`;
    const label = { "aria-label": "Completions" };
    this.list = make("ul", { class: "completions", id, role: "listbox", hidden: true, ...label });
    const attributes = {
      role: "combobox",
      "aria-autocomplete": "list",
      "aria-controls": id,
      "aria-expanded": "false",
    };
    for (const [name, value] of Object.entries(attributes)) input.setAttribute(name, value);
    input.addEventListener("input", () => this.show());
    input.addEventListener("focus", () => this.show());
    input.addEventListener("click", () => this.show());
    input.addEventListener("blur", () => this.hide());
    input.addEventListener("keydown", (event) => this.#press(event));
    // Without it the field would lose the focus before the click.
    this.list.addEventListener("mousedown", (event) => event.preventDefault());
    this.list.addEventListener("click", ({ target }) => {
      const at = [...this.list.children].indexOf(target.closest("li"));
      if (at >= 0) this.#take(at);
    });
  }

  get isOpen() {
    return !this.list.hidden;
  }

  /** Offer what fits the text as it is. */
  show() {
    if (document.activeElement !== this.#input) return;
    this.#options = this.#complete(this.#input.value, this.#input.selectionStart);
    this.list.replaceChildren(
      ...this.#options.map(({ label, note }, at) =>
        make(
          "li",
          { role: "option", id: `${this.list.id}-${at}`, "aria-selected": "false" },
          make("span", { class: "mono", dir: "auto" }, label),
          make("span", { class: "note" }, note),
        ),
      ),
    );
    this.#mark(-1);
    this.#open(this.#options.length > 0);
  }

  hide() {
    this.#open(false);
  }

  #press(event) {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    const { key } = event;
    const { length } = this.#options;
    if (key === "ArrowDown" && !this.isOpen) this.show();
    else if (key === "ArrowDown" && length) this.#mark((this.#active + 1) % length);
    else if (key === "ArrowUp" && this.isOpen)
      this.#mark(this.#active <= 0 ? length - 1 : this.#active - 1);
    else if ((key === "Enter" || key === "Tab") && this.isOpen && this.#active >= 0)
      this.#take(this.#active);
    else if (key === "Escape" && this.isOpen) this.hide();
    else {
      if (key === "Enter") this.hide();
      return;
    }
    event.preventDefault();
  }

  #take(at) {
    const { insert, from, to } = this.#options[at];
    const { value } = this.#input;
    const rest = value.slice(to);
    const isSpaced = insert.endsWith(" ") && rest.startsWith(" ");
    const text = value.slice(0, from) + (isSpaced ? insert.slice(0, -1) : insert);
    this.#input.value = text + rest;
    const caret = text.length + Number(isSpaced);
    this.#input.setSelectionRange(caret, caret);
    this.#input.dispatchEvent(new Event("input", { bubbles: true }));
  }

  #mark(at) {
    this.#active = at;
    for (const [place, option] of [...this.list.children].entries())
      option.setAttribute("aria-selected", String(place === at));
    const active = this.list.children[at];
    if (active === undefined) this.#input.removeAttribute("aria-activedescendant");
    else {
      this.#input.setAttribute("aria-activedescendant", active.id);
      active.scrollIntoView({ block: "nearest" });
    }
  }

  #open(isOpen) {
    this.list.hidden = !isOpen;
    this.#input.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) this.#mark(-1);
  }
}
