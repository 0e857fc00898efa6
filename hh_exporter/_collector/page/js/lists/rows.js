/*
 * The summaries that the page holds, in the order of the list, and where some are missing.
 *
 * Two arrays that begin in the middle: whatever is added at the top or at the bottom copies none of
 * those that are there. Each row has a sequence number that it keeps while rows come and go there.
 */

/** Of about 1 kB each; with rows of 88 pixels that is near the 17.9 million that Firefox draws. */
export const MOST_ROWS = 200_000;

export class Rows {
  isCut = false; // some went because there were too many
  #above = []; // what arrived, the newest last
  #below = []; // what was read, the newest first
  #top = 0; // the sequence number of the first row
  #gaps = []; // {after, before}: ids between which there may be more, newest last
  #places = null; // id -> place, where the order is not that of the ids

  get size() {
    return this.#above.length + this.#below.length;
  }

  get isFull() {
    return this.size >= MOST_ROWS;
  }

  get isSorted() {
    return this.#places !== null;
  }

  get oldest() {
    return this.at(this.size - 1);
  }

  get newest() {
    return this.at(0);
  }

  /** The gap that is to be filled next: the newest. */
  get gap() {
    return this.#gaps.at(-1) ?? null;
  }

  /** Forget all rows; `isSorted`: those to come are in another order than that of arrival. */
  clear(isSorted = false) {
    this.#above = [];
    this.#below = [];
    this.#gaps = [];
    this.#top = 0;
    this.isCut = false;
    this.#places = isSorted ? new Map() : null;
  }

  /** The row at a place of the list, where 0 is the first. */
  at(place) {
    const above = this.#above.length;
    return (place < above ? this.#above[above - 1 - place] : this.#below[place - above]) ?? null;
  }

  sequenceAt(place) {
    return this.#top - place;
  }

  /** The place of the row with this id, or -1. */
  placeOf(id) {
    if (this.#places) return this.#places.get(id) ?? -1;
    const place = this.#placeUpTo(id);
    return this.at(place)?.id === id ? place : -1;
  }

  /** Add rows newer than all, oldest first; `gapAfter` is the id after which some were left out. */
  addNewer(rows, gapAfter = null) {
    const last = this.newest?.id ?? -Infinity;
    const added = rows.filter((row) => row.id > last);
    if (gapAfter !== null && added.length)
      this.#gaps.push({ after: gapAfter, before: added[0].id });
    for (const row of added) this.#above.push(row);
    this.#top += added.length;
    this.#trim();
    return added.length;
  }

  /** Add rows at the bottom, in the order of the list, as far as there is room. */
  addOlder(rows) {
    const last = this.oldest?.id ?? Infinity;
    const isNew = this.#places ? ({ id }) => !this.#places.has(id) : ({ id }) => id < last;
    const added = rows.filter(isNew).slice(0, MOST_ROWS - this.size);
    for (const row of added) {
      this.#places?.set(row.id, this.size);
      this.#below.push(row);
    }
    return added.length;
  }

  /** Put rows in the place of those with their ids; others are not here. */
  replace(rows) {
    const known = rows.filter(({ id }) => this.placeOf(id) !== -1);
    for (const row of known) {
      const place = this.placeOf(row.id);
      const above = this.#above.length;
      if (place < above) this.#above[above - 1 - place] = row;
      else this.#below[place - above] = row;
    }
    return known.length;
  }

  /** Put rows into the newest gap, newest first; `next` is where it goes on, or null if it is closed. */
  fillGap(rows, next) {
    const gap = this.#gaps.pop();
    const place = this.#placeUpTo(gap.before - 1);
    const added = rows.filter((row) => row.id > gap.after && row.id < gap.before);
    const above = this.#above.length;
    if (place <= above) this.#above.splice(above - place, 0, ...added.reverse());
    else this.#below.splice(place - above, 0, ...added);
    if (next !== null && next > gap.after) this.#gaps.push({ after: gap.after, before: next });
    this.#trim();
    return added.length;
  }

  /** Take away what arrived before a time, from the bottom on, and say how many those were. */
  dropBefore(time) {
    let excess = 0;
    while (excess < this.size && this.at(this.size - 1 - excess).time < time) excess += 1;
    this.#cut(excess);
    return excess;
  }

  /** The first place whose row has at most this id. */
  #placeUpTo(id) {
    let low = 0;
    let high = this.size;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.at(middle).id > id) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #trim() {
    const excess = this.size - MOST_ROWS;
    if (excess <= 0) return;
    this.isCut = true;
    this.#cut(excess);
  }

  /** Take rows away from the bottom. */
  #cut(excess) {
    if (excess <= 0) return;
    if (this.#below.length < excess) {
      // Half of them at a time, so that a list which lives for long copies each row but once.
      const half = Math.max(this.#above.length >> 1, excess - this.#below.length);
      this.#below = this.#above.splice(0, half).reverse().concat(this.#below);
    }
    this.#below.length -= excess;
    this.#gaps = this.#gaps.filter((gap) => this.size > 0 && gap.before > this.oldest.id);
  }
}
