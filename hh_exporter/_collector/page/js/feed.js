/*
 * Fills the rows: what was there, what arrives, what is older, what was left out in a rush.
 *
 * One reading at a time follows from one set of filters; whatever belongs to an earlier one is
 * thrown away when it comes.
 */

import { ApiError, readJson } from "./api.js";
import { onceQuiet } from "./dom.js";
import { MOST_ROWS, Rows } from "./rows.js";
import { Stream } from "./stream.js";

const FIRST_PAGE = 200;
const PAGE = 1_000;
const CALM = 700;
const MOST_LOOKS = 50; // requests that one search makes before it asks whether to go on

/** Tells `change` {added, isNew}, `updates` {events}, `state`, `store` and `problem` (a text). */
export class Feed extends EventTarget {
  rows = new Rows();
  waiting = 0; // events that arrived while paused
  isPaused = false;
  isLoading = true;
  isComplete = false; // there is nothing older
  state = "connecting";

  #stream = new Stream();
  #filters = {};
  #turn = 0; // of the reading that counts
  #store = null;
  #next = null;
  #isReading = false;
  #held = []; // while paused: {events, gapAfter}
  #fillSoon = onceQuiet(CALM, () => this.#fillGaps());

  constructor() {
    super();
    this.#stream.addEventListener("hello", ({ detail }) => this.#meet(detail));
    this.#stream.addEventListener("events", ({ detail }) => this.#take(detail));
    this.#stream.addEventListener("updates", ({ detail }) => {
      if (this.rows.replace(detail.events)) this.#tell("change", { added: 0, isNew: true });
      this.#tell("updates", detail);
    });
    this.#stream.addEventListener("state", ({ detail }) => {
      this.state = detail;
      this.#tell("state");
    });
  }

  /** Begin again, with these filters. */
  open(filters) {
    this.#filters = filters;
    this.#turn += 1;
    this.#next = null;
    this.#isReading = false;
    this.#held = [];
    this.waiting = 0;
    this.rows.clear();
    this.isLoading = true;
    this.isComplete = false;
    this.#store = null;
    this.#tell("change", { added: 0 });
    this.#stream.open(filters);
  }

  pause(isPaused) {
    this.isPaused = isPaused;
    if (!isPaused) {
      for (const { events, gapAfter } of this.#held.splice(0)) this.rows.addNewer(events, gapAfter);
      const added = this.waiting;
      this.waiting = 0;
      this.#tell("change", { added, isNew: true });
      this.#fillSoon();
    }
    this.#tell("state");
  }

  /** Read older events, if there are any and there is room. */
  async readOlder() {
    if (this.#isReading || this.isComplete || this.rows.isFull || this.isLoading) return;
    await this.#read(this.#next);
  }

  /** The database that is there now; events up to `last` are read, later ones arrive by themselves. */
  async #meet({ store, last }) {
    if (this.#store === store) {
      if (this.isLoading) await this.#read(this.#next); // the break came before the first page
      return;
    }
    if (this.#store !== null) {
      this.#tell("store");
      this.open(this.#filters);
      return;
    }
    this.#store = store;
    await this.#read(last + 1);
  }

  async #read(before) {
    const turn = this.#turn;
    this.#isReading = true;
    this.#next = before;
    const limit = this.rows.size ? PAGE : FIRST_PAGE;
    let next = before;
    let found = 0;
    try {
      for (let looks = 0; next !== null && found === 0 && looks < MOST_LOOKS; looks += 1) {
        const page = await readJson("/api/events", { ...this.#filters, before: next, limit });
        if (turn !== this.#turn) return;
        next = page.next;
        found += this.rows.addOlder(page.events);
      }
      this.#next = next;
      this.isComplete = next === null;
      this.isLoading = false;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (turn !== this.#turn) return;
      if (error.status) {
        this.isComplete = true;
        this.isLoading = false;
        this.#tell("problem", error.message);
      } // else the stream will say hello again
    } finally {
      if (turn === this.#turn) {
        this.#isReading = false;
        this.#tell("change", { added: found });
      }
    }
  }

  #take({ events, skipped, after, last }) {
    const gapAfter = skipped ? after : null;
    if (this.isPaused) {
      this.#held.push({ events, gapAfter });
      this.waiting += events.length + skipped;
      this.#dropHeld();
      this.#tell("state");
      return;
    }
    const added = this.rows.addNewer(events, gapAfter);
    this.isLoading = false;
    this.#tell("change", { added, isNew: true, last });
    if (this.rows.gap) this.#fillSoon();
  }

  #dropHeld() {
    let kept = 0;
    const first = this.#held.findLastIndex(({ events }) => (kept += events.length) > MOST_ROWS);
    if (first > 0) this.#held.splice(0, first);
  }

  /** Read what a rush left out, newest first, as long as it stays calm. */
  async #fillGaps() {
    const turn = this.#turn;
    while (this.rows.gap && !this.isPaused) {
      const { after, before } = this.rows.gap;
      try {
        const page = await readJson("/api/events", {
          ...this.#filters,
          before,
          after,
          limit: PAGE,
        });
        if (turn !== this.#turn) return;
        if (this.rows.gap?.before !== before) continue;
        this.#tell("change", { added: this.rows.fillGap(page.events, page.next) });
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        return; // the stream comes back, and with it the next occasion
      }
    }
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
