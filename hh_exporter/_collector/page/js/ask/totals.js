/*
 * What the filter leaves, in numbers: one reading for the count, for the charts' figures, and for
 * what lies outside of the range.
 *
 * It reads only while somebody can see it, one reading at a time, and rests ten times as long as a
 * reading took.
 */

import { ApiError, readJson } from "../common/api.js";

const SHORTEST = 400; // milliseconds between two readings
const REST = 10;
const MOVING = 15_000; // after which a range that ends now has moved

/** Tells `change` {isNew} once there are numbers, of another filter if new, or none can be had. */
export class Totals extends EventTarget {
  /** What /api/totals said last of this filter; null until then. */
  now = null;
  /** The same of all times, where the range has no event that the filter leaves. */
  elsewhere = null;
  /** Why there are none, or "". */
  problem = "";

  #address;
  #isHeld = false;
  #isReading = false;
  #isStale = true;
  #turn = 0; // of the filter that counts
  #told = 0; // the turn of the last numbers
  #readAt = -Infinity;
  #pause = SHORTEST;

  constructor(address) {
    super();
    this.#address = address;
    document.addEventListener("visibilitychange", () => this.#tick());
    setInterval(() => this.#tick(), SHORTEST);
  }

  /** Read it anew at the next occasion: events came or went. */
  touch() {
    this.#isStale = true;
  }

  /** Forget it all: there is another filter, or another database. It waits for `release`. */
  reset() {
    this.#turn += 1;
    this.now = null;
    this.elsewhere = null;
    this.#isHeld = true;
    this.#isStale = true;
    this.#isReading = false;
    this.#readAt = -Infinity;
    this.#pause = SHORTEST;
  }

  /** The list has been read: a search of all that is stored no longer keeps it waiting. */
  release() {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#tick();
  }

  #tick() {
    const age = performance.now() - this.#readAt;
    const isMoved = this.#address.hasRange && !this.#address.isZoomed && age >= MOVING;
    const isDue = age >= this.#pause && (this.#isStale || isMoved);
    if (isDue && !this.#isHeld && !this.#isReading && !document.hidden) this.#read();
  }

  async #read() {
    const turn = this.#turn;
    const began = performance.now();
    this.#isReading = true;
    this.#isStale = false;
    this.#readAt = began;
    try {
      const now = await readJson("/api/totals", this.#address.filters);
      const isElsewhere = turn === this.#turn && !now.events && this.#address.hasRange;
      const elsewhere = isElsewhere
        ? await readJson("/api/totals", { filter: this.#address.get("filter") })
        : null;
      if (turn !== this.#turn) return;
      [this.now, this.elsewhere, this.problem] = [now, elsewhere, ""];
      this.#tell();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (turn !== this.#turn) return;
      this.#isStale = !error.status; // a filter that is refused stays so
      this.problem = error.status ? error.message : "";
      this.#tell();
    } finally {
      if (turn === this.#turn) {
        this.#isReading = false;
        this.#pause = Math.max(SHORTEST, (performance.now() - began) * REST);
      }
    }
  }

  #tell() {
    const isNew = this.#told !== this.#turn;
    this.#told = this.#turn;
    this.dispatchEvent(new CustomEvent("change", { detail: { isNew } }));
  }
}
