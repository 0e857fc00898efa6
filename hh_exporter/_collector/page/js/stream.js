/*
 * The events as they arrive, by server-sent events.
 *
 * After a break it asks for what came since the last event that it saw, from the same database;
 * another database means to begin again, which is for others to do.
 */

import { readJson, route } from "./api.js";

const FIRST_DELAY = 400;
const LONGEST_DELAY = 5_000;

/**
 * Tells `hello` {store, last}, `events` {events, skipped, after, last}, `updates` {events} of which
 * more is known now, and `state` "live"|"broken".
 */
export class Stream extends EventTarget {
  #source = null;
  #timer = 0;
  #delay = FIRST_DELAY;
  #filters = {};
  #last = null;

  constructor() {
    super();
    // A browser has six connections to a server: tabs that nobody sees must not hold them.
    document.addEventListener("visibilitychange", () =>
      document.hidden ? this.#hangUp() : this.#goOn(),
    );
  }

  /** Begin with what arrives from now on. */
  open(filters) {
    this.#hangUp();
    this.#filters = filters;
    this.#last = null;
    this.#connect();
  }

  #hangUp() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#source?.close();
    this.#source = null;
  }

  #goOn() {
    this.#hangUp();
    this.#connect();
  }

  #connect() {
    const source = new EventSource(route("/api/stream", { ...this.#filters, after: this.#last }));
    this.#source = source;
    source.addEventListener("hello", (message) => {
      const hello = JSON.parse(message.data);
      this.#delay = FIRST_DELAY;
      this.#last ??= hello.last;
      this.#tell("state", "live");
      this.#tell("hello", hello);
    });
    source.addEventListener("events", (message) => {
      const { events, skipped } = JSON.parse(message.data);
      const after = this.#last;
      this.#last = Number(message.lastEventId) || events.at(-1)?.id || after;
      this.#tell("events", { events, skipped, after, last: this.#last });
    });
    source.addEventListener("updates", (message) => this.#tell("updates", JSON.parse(message.data)));
    source.addEventListener("error", () => {
      if (this.#source === source) this.#reconnect();
    });
  }

  #reconnect() {
    this.#hangUp();
    this.#tell("state", "broken");
    // Jitter: the pages of a collector that restarts must not come back together.
    this.#timer = setTimeout(() => this.#retry(), this.#delay * (0.7 + 0.6 * Math.random()));
    this.#delay = Math.min(this.#delay * 2, LONGEST_DELAY);
  }

  async #retry() {
    const turn = this.#timer;
    try {
      await readJson("/api/stats"); // asks for the key where that is what is missing
    } catch {
      if (this.#timer === turn) this.#reconnect();
      return;
    }
    if (this.#timer === turn && this.#source === null) this.#connect();
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
