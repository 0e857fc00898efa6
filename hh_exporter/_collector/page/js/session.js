/*
 * A session: what it adds up to, its events as a tree, and its properties.
 *
 * It is read once, the oldest events first, and then asked again for what came since: events
 * arrive in any order, and each finds its place when its parent is there.
 */

import { ApiError, readJson } from "./api.js";
import { growTree } from "./branches.js";
import { makeError } from "./conversation.js";
import { make, makeButton } from "./dom.js";
import { count, dollars, duration, isError, whole } from "./format.js";
import { makeJson } from "./json.js";
import { Tree } from "./tree.js";

const MOST_EVENTS = 5_000;
const PAGE = 1_000;
const EVERY = 1_000;

/** Tells `open` {id} and `only`. */
export class Session extends EventTarget {
  element = make("div", { class: "session" });
  tree = new Tree();

  #id;
  #events = new Map(); // by the id of the row
  #openId = null;
  #last = 0; // the highest of them that was looked at
  #isMore = false;
  #reading = new AbortController();
  #timer = 0;
  #summary = make("p", { class: "session-summary" });
  #axis = make("p", { class: "tree-axis", "aria-hidden": "true" }, make("span"), make("span"));
  #note = make("p", { class: "nothing", hidden: true });

  constructor(id) {
    super();
    this.#id = id;
    this.tree.addEventListener("open", ({ detail }) => this.#tell("open", detail));
  }

  get id() {
    return this.#id;
  }

  /** Read it, and go on with what arrives until it is closed. */
  async read() {
    try {
      const properties = await this.#readAll();
      this.#add([]);
      this.tree.markOpen(this.#openId);
      this.tree.reveal();
      if (Object.keys(properties ?? {}).length)
        this.element.append(
          make("h3", { class: "section-title" }, "Properties"),
          makeJson(properties),
        );
      this.#goOn();
    } catch (error) {
      if (this.#reading.signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      this.element.replaceChildren(makeError(error.message));
    }
  }

  close() {
    clearTimeout(this.#timer);
    this.#reading.abort();
  }

  /** Mark the event that is open, wherever it stands. */
  markOpen(id) {
    if (id === this.#openId) return;
    this.#openId = id;
    this.tree.markOpen(id);
  }

  /** Show more that is known now of some of its events. */
  update(rows) {
    const known = rows.filter(({ id }) => this.#events.has(id));
    if (known.length) this.#add(known);
  }

  async #readAll() {
    const { signal } = this.#reading;
    const path = `/api/sessions/${encodeURIComponent(this.#id)}`;
    let properties = null;
    for (let after = 0; after !== null; ) {
      const page = await readJson(path, { after, limit: PAGE }, { signal });
      if (properties === null) {
        properties = page.properties;
        const id = make("code", { class: "session-id", dir: "auto" }, this.#id);
        const { element } = this.tree;
        this.element.replaceChildren(this.#summary, id, this.#axis, element, this.#note);
      }
      this.#add(page.events);
      this.#isMore = page.next !== null && this.#events.size >= MOST_EVENTS;
      after = this.#isMore ? null : page.next;
    }
    return properties;
  }

  /** Ask now and then for what came, as long as somebody can see it. */
  #goOn() {
    this.#timer = setTimeout(async () => {
      try {
        if (!document.hidden && this.element.isConnected) await this.#readNew();
      } catch (error) {
        if (!(error instanceof ApiError) && error.name !== "AbortError") throw error;
      }
      if (!this.#reading.signal.aborted) this.#goOn();
    }, EVERY);
  }

  async #readNew() {
    // The filter "" asks for nothing, and so for the events of all sessions.
    if (this.#id === "" || this.#isMore) return;
    const wanted = { session: this.#id, after: this.#last, limit: PAGE };
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
      if (this.#events.size >= MOST_EVENTS && !this.#events.has(row.id)) this.#isMore = true;
      else this.#events.set(row.id, row);
      this.#last = Math.max(this.#last, row.id);
    }
    const events = [...this.#events.values()];
    const scale = scaleOf(events);
    this.#showSummary(events, scale);
    this.#axis.firstChild.textContent = "0";
    this.#axis.lastChild.textContent = duration(scale.to - scale.from);
    this.#note.textContent = `The first ${whole(MOST_EVENTS)} events of it; the list shows all.`;
    this.#note.hidden = !this.#isMore;
    this.tree.show(growTree(events), scale);
  }

  #showSummary(events, { from, to }) {
    const parts = events.filter((event) => event.type !== "session"); // which has the sums of these
    const sum = (name) => parts.reduce((total, event) => total + (event[name] ?? 0), 0);
    const errors = events.filter(isError).length;
    const tokens = sum("tokens_in") + sum("tokens_out");
    const cost = sum("cost");
    const said = [
      make("b", {}, `${count(events.length, "event")}${this.#isMore ? "+" : ""}`),
      make("span", {}, duration(to - from)),
      tokens ? make("span", {}, count(tokens, "token")) : "",
      cost ? make("span", {}, dollars(cost)) : "",
      errors ? make("span", { class: "bad" }, count(errors, "error")) : "",
    ];
    const button =
      this.#summary.querySelector("button") ??
      makeButton("Only this session", () => this.#tell("only"));
    for (const child of [...this.#summary.childNodes]) if (child !== button) child.remove();
    if (button.parentNode === null) this.#summary.append(button);
    button.before(...said.filter(Boolean));
  }

  #tell(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function scaleOf(events) {
  let from = Infinity;
  let to = -Infinity;
  for (const { start, duration: length } of events) {
    from = Math.min(from, start);
    to = Math.max(to, start + Math.max(0, length ?? 0));
  }
  return events.length ? { from, to } : { from: 0, to: 0 };
}
