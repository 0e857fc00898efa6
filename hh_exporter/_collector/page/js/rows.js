/*
 * The summaries that the page holds, and where some between them are missing.
 *
 * Ordered by id, at most MOST_ROWS: beyond that the oldest go. Each has a sequence number that it
 * keeps while it is here, whatever comes before or after.
 */

export const MOST_ROWS = 10_000;

export class Rows {
  #rows = [];
  #first = 0; // the sequence number of the oldest
  #gaps = []; // {after, before}: ids between which there may be more, newest last

  get size() {
    return this.#rows.length;
  }

  get isFull() {
    return this.size >= MOST_ROWS;
  }

  get oldest() {
    return this.#rows[0] ?? null;
  }

  get newest() {
    return this.#rows.at(-1) ?? null;
  }

  /** The gap that is to be filled next: the newest. */
  get gap() {
    return this.#gaps.at(-1) ?? null;
  }

  clear() {
    this.#rows = [];
    this.#gaps = [];
    this.#first = 0;
  }

  /** The row at a place of the list, where 0 is the newest. */
  at(place) {
    return this.#rows[this.size - 1 - place] ?? null;
  }

  sequenceAt(place) {
    return this.#first + this.size - 1 - place;
  }

  /** The place of the row with this id, or -1. */
  placeOf(id) {
    const index = this.#indexAfter(id - 1);
    return this.#rows[index]?.id === id ? this.size - 1 - index : -1;
  }

  /** Add rows newer than all, oldest first; `gapAfter` is the id after which some were left out. */
  addNewer(rows, gapAfter = null) {
    const last = this.newest?.id ?? -Infinity;
    const added = rows.filter((row) => row.id > last);
    if (gapAfter !== null && added.length)
      this.#gaps.push({ after: gapAfter, before: added[0].id });
    this.#rows.push(...added);
    this.#trim();
    return added.length;
  }

  /** Add rows older than all, newest first, as far as there is room. */
  addOlder(rows) {
    const first = this.oldest?.id ?? Infinity;
    const added = rows
      .filter((row) => row.id < first)
      .slice(0, MOST_ROWS - this.size)
      .reverse();
    this.#rows = added.concat(this.#rows);
    this.#first -= added.length;
    return added.length;
  }

  /** Put rows in the place of those with their ids; others are not here. */
  replace(rows) {
    const known = rows.filter(({ id }) => this.placeOf(id) !== -1);
    for (const row of known) this.#rows[this.size - 1 - this.placeOf(row.id)] = row;
    return known.length;
  }

  /** Put rows into the newest gap, newest first; `next` is where it goes on, or null if it is closed. */
  fillGap(rows, next) {
    const gap = this.#gaps.pop();
    const index = this.#indexAfter(gap.before - 1);
    const added = rows.filter((row) => row.id > gap.after && row.id < gap.before).reverse();
    this.#rows.splice(index, 0, ...added);
    this.#first -= added.length;
    if (next !== null && next > gap.after) this.#gaps.push({ after: gap.after, before: next });
    this.#trim();
    return added.length;
  }

  /** How many rows stand before this id, counted from the oldest. */
  #indexAfter(id) {
    let low = 0;
    let high = this.size;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#rows[middle].id <= id) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #trim() {
    const excess = this.size - MOST_ROWS;
    if (excess <= 0) return;
    this.#rows.splice(0, excess);
    this.#first += excess;
    this.#gaps = this.#gaps.filter((gap) => gap.before > this.oldest.id);
  }
}
