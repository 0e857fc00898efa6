/*
 * What people think of the open event: a thumb, a note, and all else that was sent as feedback.
 *
 * What the reader typed stands above what the collector has, and is saved when the field is left.
 */

import { make, makeButton } from "../common/dom.js";
import { short } from "../common/format.js";
import { makeThumb } from "../common/icons.js";
import { Drafts } from "./drafts.js";

/** As the API's own pages rate: up to 5, of which less than 3 is bad. */
export const UP = 5;
export const DOWN = 1;

const MOST_CHIPS = 12;
const LONGEST_CHIP = 60;
const MOST_LINES = 6;

export class Feedback {
  element = make("section", { class: "feedback", "aria-label": "Feedback", hidden: true });

  #drafts = new Drafts();
  #eventId = null;
  #known = {}; // what the collector has
  #thumbs = [
    this.#makeRate(UP, "up", "Good (+)"),
    this.#makeRate(DOWN, "down", "Bad (-)"),
  ];
  #note = make("textarea", {
    id: "note",
    rows: 1,
    "aria-label": "Note",
    placeholder: "Add a note",
    title: "Note (a); Ctrl+Enter saves it",
    dir: "auto",
    readonly: true,
    on: {
      input: () => this.#type(),
      blur: () => this.#saveNow(),
      keydown: (event) => this.#press(event),
    },
  });
  #save = makeButton("Save", () => this.#saveNow(), { id: "save-note" });
  #state = make("p", { class: "feedback-state", role: "status" });
  #others = make("ul", { class: "chips", "aria-label": "Other feedback" });

  constructor() {
    // What comes and goes is on top, so that a thumb doesn't move away between press and click.
    this.element.append(this.#others, this.#state, ...this.#thumbs, this.#note, this.#save);
    this.#drafts.addEventListener("change", ({ detail }) => {
      if (detail.eventId === this.#eventId) this.#show();
    });
    this.#drafts.addEventListener("saved", ({ detail: { eventId, feedback } }) => {
      if (eventId === this.#eventId) this.#known = { ...this.#known, ...feedback };
    });
  }

  /** Show what is known of an event, which may be the one that is shown already. */
  show(eventId, feedback) {
    if (eventId !== this.#eventId) this.leave();
    this.#eventId = eventId;
    this.#note.readOnly = false;
    this.#known = typeof feedback === "object" && feedback !== null ? feedback : {};
    this.#show();
  }

  /** Save what was typed: another event is opened, or none. */
  leave() {
    this.#saveNow();
    this.#eventId = null;
    this.#note.readOnly = true;
  }

  /** Rate the open event; the same once more takes it back. */
  rate(rating) {
    if (this.#eventId === null) return;
    this.#drafts.say(this.#eventId, { rating: this.#now.rating === rating ? null : rating });
    this.#drafts.save(this.#eventId);
  }

  focusNote() {
    if (this.#eventId !== null) this.#note.focus();
  }

  /** What is so for the reader. */
  get #now() {
    return { ...this.#known, ...this.#drafts.of(this.#eventId) };
  }

  #makeRate(rating, name, label) {
    return makeButton(makeThumb(rating), () => this.rate(rating), {
      class: `rate rate-${name}`,
      id: `rate-${name}`,
      "aria-label": label,
      title: label,
      "data-rating": rating,
    });
  }

  #type() {
    const note = this.#note.value === "" ? null : this.#note.value;
    if (note === textOf(this.#known.note)) this.#drafts.unsay(this.#eventId, "note");
    else this.#drafts.say(this.#eventId, { note });
  }

  #saveNow() {
    if (this.#eventId !== null) this.#drafts.save(this.#eventId);
  }

  #press(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.#saveNow();
    } else if (event.key === "Escape") {
      event.preventDefault(); // else it closes the event
      document.getElementById("detail-content")?.focus({ preventScroll: true });
    }
  }

  #show() {
    const { rating, note } = this.#now;
    for (const thumb of this.#thumbs)
      thumb.setAttribute("aria-pressed", String(Number(thumb.dataset.rating) === rating));
    const text = textOf(note) ?? "";
    if (this.#note.value !== text) this.#note.value = text;
    this.#note.rows = Math.min(MOST_LINES, text.split("\n").length);
    const said = this.#drafts.of(this.#eventId);
    const isSaving = this.#drafts.isSaving(this.#eventId);
    const problem = this.#drafts.problem(this.#eventId);
    this.#save.hidden = !Object.keys(said).length || isSaving;
    this.#save.textContent = problem ? "Try again" : "Save";
    const state = isSaving ? "Saving…" : problem ? `Not saved: ${problem}` : "";
    if (this.#state.textContent !== state) this.#state.textContent = state;
    this.#state.classList.toggle("bad", problem !== "");
    this.#state.hidden = state === "";
    this.#showOthers();
  }

  #showOthers() {
    const { rating, note, ...others } = this.#known;
    const chips = Object.entries(others).map(([name, value]) => makeChip(name, value));
    if (!isThumb(rating)) chips.unshift(makeChip("rating", rating, typeof rating === "number"));
    if (textOf(note) === null) chips.push(makeChip("note", note));
    else if ("note" in this.#drafts.of(this.#eventId)) chips.push(makeChip("saved note", note));
    const shown = chips.filter(Boolean);
    const more = shown.splice(MOST_CHIPS).length;
    if (more) shown.push(make("li", {}, `${more} more in Details`));
    this.#others.replaceChildren(...shown);
    this.#others.hidden = shown.length === 0;
  }
}

const isThumb = (rating) => rating === UP || rating === DOWN;
const textOf = (note) => (typeof note === "string" && note !== "" ? note : null);

/** What somebody sent, by its name; null if that is nothing. */
function makeChip(name, value, isOfFive = false) {
  if (value === null || value === undefined) return null;
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const cut = text.length > LONGEST_CHIP ? `${text.slice(0, LONGEST_CHIP - 1)}…` : text;
  return make(
    "li",
    { title: text.slice(0, 2_000) },
    make("span", { dir: "auto" }, name),
    make("b", { dir: "auto" }, isOfFive ? `${short(value)} of ${UP}` : cut),
  );
}
