/*
 * The events of one session as a tree, for all that show some of it.
 *
 * They are read once, the oldest first, and then asked again for what came since: events arrive in
 * any order, and each finds its place when its parent is there.
 */

import { ApiError, readJson } from "../common/api.js";
import { growTree, nodesOf } from "./branches.js";

export const MOST_EVENTS = 5_000;
const PAGE = 1_000;

/** Tells `change` after some of it came, and `problem` with a text if it can't be read. */
export class Trace extends EventTarget {
  id;
  top = []; // as growTree makes it
  properties = null; // of the session
  isMore = false; // there are events beyond MOST_EVENTS, or may be
  isRead = false;
  every = 5_000; // milliseconds from one question for what came to the next

  #events = new Map(); // by the id of the row
  #nodes = new Map(); // likewise
  #last = 0; // the highest id that was looked at
  #reading = new AbortController();
  #timer = 0;

  constructor(id) {
    super();
    this.id = id;
  }

  get size() {
    return this.#events.size;
  }

  get events() {
    return [...this.#events.values()];
  }

  /** The place of the event with this row in the tree, or null. */
  find(rowId) {
    return this.#nodes.get(rowId) ?? null;
  }

  /** Read it, and go on with what arrives until it is closed. */
  async read() {
    try {
      const { signal } = this.#reading;
      const path = `/api/sessions/${encodeURIComponent(this.id)}`;
      for (let after = 0; after !== null; ) {
        const page = await readJson(path, { after, limit: PAGE }, { signal });
        this.properties ??= page.properties ?? {};
        this.isMore = page.next !== null && this.size + page.events.length >= MOST_EVENTS;
        after = this.isMore ? null : page.next;
        this.isRead = after === null;
        this.#add(page.events);
      }
      this.#goOn();
    } catch (error) {
      if (this.#reading.signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      this.dispatchEvent(new CustomEvent("problem", { detail: error.message }));
    }
  }

  close() {
    clearTimeout(this.#timer);
    this.#reading.abort();
  }

  /** Ask this often for what came, and now if that is more often than before. */
  follow(every) {
    const isSooner = every < this.every;
    this.every = every;
    if (isSooner) this.ask();
  }

  /** Ask now for what came, if all before it is read. */
  ask() {
    if (this.isRead) this.#goOn(0);
  }

  /** Take in what more is known now of some of its events. */
  update(rows) {
    const known = rows.filter(({ id }) => this.#events.has(id));
    if (known.length) this.#add(known);
  }

  /** Ask now and then for what came, as long as somebody can see the page. */
  #goOn(delay = this.every) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(async () => {
      try {
        if (!document.hidden) await this.#readNew();
      } catch (error) {
        if (!(error instanceof ApiError) && error.name !== "AbortError") throw error;
      }
      if (!this.#reading.signal.aborted) this.#goOn();
    }, delay);
  }

  async #readNew() {
    // The filter "" asks for nothing, and so for the events of all sessions.
    if (this.id === "" || this.isMore) return;
    const wanted = { session: this.id, after: this.#last, limit: PAGE };
    const found = [];
    for (let before = null; ; ) {
      const { signal } = this.#reading;
      const page = await readJson("/api/events", { ...wanted, before }, { signal });
      found.push(...page.events);
      before = page.next;
      if (before === null) break;
    }
    if (found.length) this.#add(found.reverse());
  }

  #add(rows) {
    for (const row of rows) {
      if (this.size >= MOST_EVENTS && !this.#events.has(row.id)) this.isMore = true;
      else this.#events.set(row.id, row);
      this.#last = Math.max(this.#last, row.id);
    }
    this.top = growTree(this.events);
    this.#nodes = new Map(nodesOf(this.top).map((node) => [node.event.id, node]));
    this.dispatchEvent(new CustomEvent("change"));
  }
}
