/*
 * Asks what is new, about twice a second while the page is seen.
 *
 * Each question is short, so that any number of windows works: a browser has six connections to a
 * server, and streams would hold them. It names the last event that was seen, so a break loses none.
 */

import { ApiError, readJson } from "../common/api.js";

const PAUSE = 500;
const PATIENCE = 10_000; // for an answer
const FIRST_DELAY = 400;
const LONGEST_DELAY = 5_000;

/**
 * Tells `news` {store, last, after, events, skipped, changed} for each answer, `state`
 * "live"|"broken", and `problem` (a text) if these filters can't be used.
 */
export class News extends EventTarget {
  #filters = () => ({});
  #after = null;
  #updates = null;
  #asking = new AbortController();
  #timer = 0;
  #delay = FIRST_DELAY;

  constructor() {
    super();
    document.addEventListener("visibilitychange", () => this.#goOn());
  }

  /**
   * Begin with what arrives from now on.
   *
   * @param {() => Record<string, any>} filters  read for each question: a range may move on
   */
  open(filters) {
    this.#filters = filters;
    this.#after = null;
    this.#updates = null;
    this.#goOn();
  }

  #goOn() {
    this.#asking.abort();
    clearTimeout(this.#timer);
    if (document.hidden) return;
    this.#asking = new AbortController();
    this.#ask(this.#asking.signal);
  }

  async #ask(signal) {
    const after = this.#after;
    try {
      const parameters = { ...this.#filters(), after, updates: this.#updates };
      const patient = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]);
      const answer = await readJson("/api/news", parameters, { signal: patient });
      const { updates, ...news } = answer;
      if (signal.aborted) return;
      this.#after = news.last;
      this.#updates = updates;
      this.#delay = FIRST_DELAY;
      this.#tell("state", "live");
      this.#tell("news", { ...news, after });
      if (!signal.aborted) this.#timer = setTimeout(() => this.#ask(signal), PAUSE);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 400) this.#tell("problem", error.message);
      else this.#tryAgain(signal);
    }
  }

  #tryAgain(signal) {
    this.#tell("state", "broken");
    // Jitter: the pages of a collector that restarts must not come back together.
    const delay = this.#delay * (0.7 + 0.6 * Math.random());
    this.#delay = Math.min(this.#delay * 2, LONGEST_DELAY);
    this.#timer = setTimeout(() => this.#ask(signal), delay);
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
