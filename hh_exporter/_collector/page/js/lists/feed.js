/*
 * Fills the rows: what was there, what arrives, what is older, what was left out in a rush.
 *
 * One reading at a time follows from one set of filters; whatever belongs to an earlier one is
 * thrown away when it comes. In a sorted list nothing moves by itself: what arrives is counted.
 */

import { ApiError, readJson } from "../common/api.js";
import { onceQuiet } from "../common/dom.js";
import { fullTime, whole } from "../common/format.js";
import { News } from "./news.js";
import { MOST_ROWS, Rows } from "./rows.js";

const FIRST_PAGE = 200;
const PAGE = 1_000;
const CALM = 700;
const MOST_LOOKS = 50; // requests that one search makes before it asks whether to go on

/** Tells `change` {added, isNew}, `updates` {events}, `lost` (updates that nobody remembers), `state`, `store` and `problem` (a text). */
export class Feed extends EventTarget {
  rows = new Rows();
  waiting = 0; // events that arrived while the list was paused, or sorted
  isPaused = false;
  isLoading = true;
  isComplete = false; // there is nothing more
  searchedFrom = null; // when the oldest event arrived that a sorted search has looked at
  state = "connecting";

  #news = new News();
  #filters = () => ({});
  #sort = "";
  #turn = 0; // of the reading that counts
  #store = null;
  #next = null;
  #isReading = false;
  #held = []; // while paused: {events, gapAfter}
  #fillSoon = onceQuiet(CALM, () => this.#fillGaps());
  #loseSoon = onceQuiet(CALM, () => this.#tell("lost"));

  constructor() {
    super();
    this.#news.addEventListener("news", ({ detail }) => this.#take(detail));
    this.#news.addEventListener("problem", ({ detail }) => this.#giveUp(detail));
    this.#news.addEventListener("state", ({ detail }) => {
      if (this.state === detail) return;
      this.state = detail;
      this.#tell("state");
      if (detail === "live") this.#tell("change", { added: 0 }); // a page may be wanted yet
    });
  }

  /** What the end of the list says, if something is missing below it. */
  get note() {
    if (this.rows.isFull && (this.rows.isCut || !this.isComplete))
      return `These are the first ${whole(MOST_ROWS)}; a filter shows others.`;
    if (this.rows.size && this.searchedFrom !== null)
      return `What arrived before ${fullTime(this.searchedFrom)} was not searched: it is too much text.`;
    return "";
  }

  /**
   * Begin again.
   *
   * @param {() => Record<string, any>} filters  read for each question: a range may move on
   * @param {string} sort  what to order by, with `-` before it from the highest; "" is by arrival
   */
  open(filters, sort) {
    this.#filters = filters;
    this.#sort = sort;
    this.#turn += 1;
    this.#isReading = false;
    this.#held = [];
    this.#store = null;
    this.waiting = 0;
    this.rows.clear(sort !== "");
    this.isLoading = true;
    this.isComplete = false;
    this.searchedFrom = null;
    this.#tell("change", { added: 0 });
    this.#news.open(filters);
  }

  /** Read all of it again, as what arrived has its places in a sorted list, too. */
  reopen() {
    this.open(this.#filters, this.#sort);
  }

  pause(isPaused) {
    this.isPaused = isPaused;
    if (!isPaused && !this.rows.isSorted) {
      for (const { events, gapAfter } of this.#held.splice(0)) this.rows.addNewer(events, gapAfter);
      const added = this.waiting;
      this.waiting = 0;
      this.#tell("change", { added, isNew: true });
      this.#fillSoon();
    }
    this.#tell("state");
  }

  /** Read what follows below, if there is any and there is room. */
  async readOlder() {
    if (this.#isReading || this.isComplete || this.rows.isFull || this.isLoading) return;
    await this.#read();
  }

  #take({ store, last, after, events, skipped, changed }) {
    if (this.#store !== null && this.#store !== store) {
      this.#tell("store");
      this.reopen();
      return;
    }
    if (this.#store === null) {
      this.#store = store;
      this.#next = this.rows.isSorted ? "" : last + 1;
    }
    if (this.isLoading && !this.#isReading) this.#read();
    if (events.length || skipped) this.#arrive(events, skipped, after);
    if (changed === null) this.#loseSoon();
    else if (changed.length) {
      if (this.rows.replace(changed)) this.#tell("change", { added: 0, isNew: true });
      this.#tell("updates", { events: changed });
    }
    if (!this.isPaused) this.#dropOld();
  }

  #arrive(events, skipped, after) {
    const gapAfter = skipped ? after : null;
    if (this.rows.isSorted) {
      this.waiting += events.filter(({ id }) => this.rows.placeOf(id) === -1).length + skipped;
      this.#tell("change", { added: 0, isNew: true });
    } else if (this.isPaused) {
      this.#held.push({ events, gapAfter });
      this.waiting += events.length + skipped;
      this.#dropHeld();
      this.#tell("state");
    } else {
      const added = this.rows.addNewer(events, gapAfter);
      this.#tell("change", { added, isNew: true });
      if (this.rows.gap) this.#fillSoon();
    }
  }

  /** Take away what the range has left behind. */
  #dropOld() {
    const { since } = this.#filters();
    if (since && !this.rows.isSorted && this.rows.dropBefore(Number(since)))
      this.#tell("change", { added: 0, isNew: true }); // the count goes down, too
  }

  async #read() {
    const turn = this.#turn;
    this.#isReading = true;
    const limit = this.rows.size ? PAGE : FIRST_PAGE;
    let found = 0;
    try {
      for (let looks = 0; this.#next !== null && !found && looks < MOST_LOOKS; looks += 1) {
        const parameters = { ...this.#filters(), sort: this.#sort, before: this.#next, limit };
        const page = await readJson("/api/events", parameters);
        if (turn !== this.#turn) return;
        this.#next = page.next;
        this.searchedFrom = page.searched_from ?? null;
        found += this.rows.addOlder(page.events);
      }
      this.isComplete = this.#next === null;
      this.isLoading = false;
      this.#isReading = false;
      this.#tell("change", { added: found });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (turn !== this.#turn) return;
      this.#isReading = false;
      if (error.status === 400) this.#giveUp(error.message); // else it goes on once there is news
    }
  }

  #giveUp(problem) {
    this.isComplete = true;
    this.isLoading = false;
    this.#tell("problem", problem);
    this.#tell("change", { added: 0 });
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
        const parameters = { ...this.#filters(), before, after, limit: PAGE };
        const page = await readJson("/api/events", parameters);
        if (turn !== this.#turn) return;
        if (this.rows.gap?.before !== before) continue;
        this.#tell("change", { added: this.rows.fillGap(page.events, page.next) });
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        return; // the collector comes back, and with it the next occasion
      }
    }
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
