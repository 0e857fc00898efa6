/*
 * What was said of events here, and is not saved yet.
 *
 * Nothing is lost on the way: it stays, also across a reload, until the collector has it, whatever
 * else is opened meanwhile and however often saving fails.
 */

import { ApiError, putJson } from "../common/api.js";

const KEY = "hh-drafts";
const PATIENCE = 10_000;
const LATER = 10_000;

/** Tells `change` {eventId}, and `saved` {eventId, feedback} once the collector has that. */
export class Drafts extends EventTarget {
  #said = new Map(restore()); // the id of an event -> {rating?, note?}
  #problems = new Map(); // why that was not saved
  #saving = new Set();
  #again = new Set(); // those that are to be saved once more after that
  #timer = 0;

  constructor() {
    super();
    addEventListener("beforeunload", (event) => {
      if (this.#said.size) event.preventDefault(); // the browser asks
    });
  }

  /** What is said of an event, {} if all of that is saved. */
  of(eventId) {
    return this.#said.get(eventId) ?? {};
  }

  problem(eventId) {
    return this.#problems.get(eventId) ?? "";
  }

  isSaving(eventId) {
    return this.#saving.has(eventId);
  }

  /** Note what is said, for now only here. */
  say(eventId, said) {
    this.#said.set(eventId, { ...this.of(eventId), ...said });
    this.#tell("change", { eventId });
  }

  /** Take back a part of it, which is as the collector has it. */
  unsay(eventId, name) {
    const { [name]: _, ...rest } = this.of(eventId);
    if (Object.keys(rest).length) this.#said.set(eventId, rest);
    else this.#said.delete(eventId);
    if (!this.#said.has(eventId)) this.#problems.delete(eventId);
    this.#tell("change", { eventId });
  }

  /** Send what is said of an event; what can't be saved now is tried again later. */
  async save(eventId) {
    if (!this.#said.has(eventId)) return;
    this.#again.add(eventId);
    if (this.#saving.has(eventId)) return;
    this.#saving.add(eventId);
    this.#problems.delete(eventId);
    this.#tell("change", { eventId });
    try {
      while (this.#again.delete(eventId) && this.#said.has(eventId))
        await this.#send(eventId, this.of(eventId));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#again.delete(eventId);
      this.#problems.set(eventId, error.message);
      if (error.status === 0 || error.status === 429 || error.status >= 500) this.#tryLater();
    } finally {
      this.#saving.delete(eventId);
      this.#tell("change", { eventId });
    }
  }

  #tryLater() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (document.hidden) this.#tryLater();
      else for (const eventId of [...this.#problems.keys()]) this.save(eventId);
    }, LATER);
  }

  async #send(eventId, feedback) {
    const signal = AbortSignal.timeout(PATIENCE); // a request may hang, which is one of the faults
    await putJson("/events", { event_id: eventId, feedback }, { signal });
    this.#tell("saved", { eventId, feedback });
    for (const [name, value] of Object.entries(feedback))
      if (this.of(eventId)[name] === value) this.unsay(eventId, name);
  }

  #tell(type, detail) {
    store([...this.#said]);
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function restore() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
  } catch {
    return [];
  }
}

function store(said) {
  try {
    if (said.length) sessionStorage.setItem(KEY, JSON.stringify(said));
    else sessionStorage.removeItem(KEY);
  } catch {
    // the browser asks before the page is left
  }
}
