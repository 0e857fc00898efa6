/*
 * What can be done with the stored events: export what the filter leaves, delete all.
 *
 * Nothing is deleted that was not counted before the reader's eyes, and the safe answer has the
 * focus.
 */

import { ApiError, readJson, route } from "../common/api.js";
import { make, makeButton } from "../common/dom.js";
import { bytes, count } from "../common/format.js";

/** Tells `cleared` once the events are deleted. */
export class Actions extends EventTarget {
  element;

  #address;
  #menu;
  #toggle;
  #export = make("a", { class: "menu-item", id: "export" }, "Export as JSON Lines");

  constructor(address) {
    super();
    this.#address = address;
    this.#toggle = makeButton("⋯", () => this.#open(this.#menu.hidden), {
      id: "more",
      title: "Export, delete",
      "aria-label": "Export or delete events",
      "aria-expanded": "false",
      "aria-controls": "more-menu",
    });
    this.#export.addEventListener("click", () => this.#open(false));
    const clear = makeButton("Delete all events…", () => this.#ask(), {
      class: "menu-item",
      id: "delete-all",
    });
    this.#menu = make("div", { class: "menu", id: "more-menu" }, this.#export, clear);
    this.#menu.hidden = true;
    this.element = make("span", { class: "menu-place" }, this.#toggle, this.#menu);
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || this.#menu.hidden) return;
      event.preventDefault();
      this.#open(false);
      this.#toggle.focus();
    });
    this.element.addEventListener("focusout", ({ relatedTarget }) => {
      if (relatedTarget !== null && !this.element.contains(relatedTarget)) this.#open(false);
    });
    document.addEventListener("pointerdown", ({ target }) => {
      if (!this.element.contains(target)) this.#open(false);
    });
  }

  /** Say how many events an export has; null if that is not known. */
  showCount(events) {
    const what = events === null ? "" : ` ${count(events, "event")}`;
    this.#export.textContent = `Export${what} as JSON Lines`;
  }

  #open(isOpen) {
    this.#menu.hidden = !isOpen;
    this.#toggle.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) return;
    this.#export.setAttribute("href", route("/api/events.jsonl", this.#address.filters));
    this.#export.setAttribute("download", fileName(new Date(), this.#address.isFiltered));
  }

  async #ask() {
    this.#open(false);
    try {
      const stats = await readJson("/api/stats");
      if (await isSure(stats)) this.dispatchEvent(new CustomEvent("cleared"));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error; // the status says that nobody answers
    }
    this.#toggle.focus();
  }
}

/** events-2026-11-22-103105.jsonl, or events-filtered-… if a filter leaves out some. */
function fileName(date, isFiltered) {
  const two = (number) => String(number).padStart(2, "0");
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join("");
  return `events-${isFiltered ? "filtered-" : ""}${day}-${time}.jsonl`;
}

/** Ask, and delete; returns whether that was done. */
function isSure({ events, bytes: size, file }) {
  const keep = makeButton("Keep them", () => dialog.close(), { autofocus: true });
  const remove = makeButton(`Delete ${count(events, "event")}`, clear, { class: "danger" });
  const problem = make("p", { class: "problem", role: "alert" });
  const where =
    file === null ? "the collector's temporary file" : make("code", { dir: "auto" }, file);
  const dialog = make(
    "dialog",
    { id: "delete-dialog", "aria-labelledby": "delete-title", "aria-describedby": "delete-what" },
    make("h2", { id: "delete-title" }, "Delete all events?"),
    make(
      "p",
      { id: "delete-what" },
      `All ${count(events, "event")} and all sessions (${bytes(size)}) are deleted from `,
      where,
      ", whatever the filter leaves. This can't be undone: export them first to keep a copy.",
    ),
    problem,
    make("div", { class: "dialog-end" }, remove, keep),
  );
  let isDone = false;

  async function clear() {
    remove.disabled = true;
    try {
      await readJson("/api/events", {}, { method: "DELETE" });
      isDone = true;
      dialog.close();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      problem.textContent = error.message;
      remove.disabled = false;
    }
  }

  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(isDone);
    });
  });
}
