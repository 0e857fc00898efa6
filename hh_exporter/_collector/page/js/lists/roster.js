/*
 * The sessions that the filter leaves, in the order in which the collector sorts them.
 *
 * They are read page by page as the reader goes on. When something arrived, what was read is read
 * again, at most MOST_AGAIN of it and not more often than a reader can follow.
 */

import { ApiError, readJson } from "../common/api.js";

const PAGE = 100;
const MOST_AGAIN = 1_000;
const CALM = 1_000;

/** Tells `change`. */
export class Roster extends EventTarget {
  rows = [];
  isLoading = true;
  searchedFrom = null; // the time before which nothing was searched
  problem = "";

  #filters = () => ({});
  #sort = "";
  #next = null; // where to go on, null at the end
  #reading = new AbortController();
  #isReading = false;
  #timer = 0;

  get isComplete() {
    return this.#next === null;
  }

  /** Begin again, with these filters, in this order. */
  open(filters, sort) {
    this.close();
    this.#reading = new AbortController();
    this.#filters = filters;
    this.#sort = sort;
    this.#next = null;
    this.#isReading = false;
    this.rows = [];
    this.isLoading = true;
    this.problem = "";
    this.#tell();
    this.#read(PAGE, null, (found) => found);
  }

  close() {
    this.#reading.abort();
    clearTimeout(this.#timer);
    this.#timer = 0;
  }

  /** Read the next page, if there is one. */
  readMore() {
    if (this.#next === null || this.#isReading) return;
    this.#read(PAGE, this.#next, (found) => [...this.rows, ...others(found, this.rows)]);
  }

  /** Something arrived, or changed: read it soon. */
  touch() {
    if (this.#timer || this.#reading.signal.aborted) return;
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      if (this.#isReading || document.hidden) this.touch();
      else this.#readAgain();
    }, CALM);
  }

  #readAgain() {
    const limit = Math.min(MOST_AGAIN, Math.max(PAGE, this.rows.length));
    const isPart = this.rows.length > limit;
    this.#read(
      limit,
      null,
      (found) => (isPart ? [...found, ...others(this.rows.slice(limit), found)] : found),
      isPart ? this.#next : undefined,
    );
  }

  /** Read a page, and make the rows of it; `next` is where to go on if not where it says. */
  async #read(limit, before, merge, next) {
    const { signal } = this.#reading;
    this.#isReading = true;
    try {
      const wanted = { ...this.#filters(), sort: this.#sort, limit, before };
      const page = await readJson("/api/sessions", wanted, { signal });
      this.rows = merge(page.sessions);
      this.#next = next === undefined ? page.next : next;
      this.searchedFrom = page.searched_from;
      this.problem = "";
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      if (error.status) this.problem = error.message;
    } finally {
      if (!signal.aborted) {
        this.#isReading = false;
        this.isLoading = false;
        this.#tell();
      }
    }
  }

  #tell() {
    this.dispatchEvent(new CustomEvent("change"));
  }
}

/** Those of these rows that are not among the others. */
function others(rows, known) {
  const ids = new Set(known.map((row) => row.session_id));
  return rows.filter((row) => !ids.has(row.session_id));
}
