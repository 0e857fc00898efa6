/*
 * The tab of a session: what it adds up to, its events as a tree, and its properties.
 *
 * It draws what a trace holds, and keeps nothing of it.
 */

import { make, makeButton } from "../common/dom.js";
import { count, dollars, duration, whole } from "../common/format.js";
import { makeError } from "../content/conversation.js";
import { makeJson } from "../content/json.js";
import { total } from "./sums.js";
import { MOST_EVENTS } from "./trace.js";
import { Tree } from "./tree.js";

/** Tells `open` {id} and `only`. */
export class Session extends EventTarget {
  element = make("div", { class: "session" });
  tree = new Tree();

  #trace;
  #openId = null;
  #isRevealed = false;
  #summary = make("p", { class: "session-summary" });
  #only = makeButton("Only this session", () => this.#tell("only"));
  #from = make("span", { class: "axis-from" }, "0");
  #to = make("span", { class: "axis-to" });
  #note = make("p", { class: "nothing", hidden: true });
  #properties = make("div", { hidden: true });

  constructor(trace) {
    super();
    this.#trace = trace;
    this.tree.addEventListener("open", ({ detail }) => this.#tell("open", detail));
    trace.addEventListener("change", () => this.#show());
    trace.addEventListener("problem", ({ detail }) =>
      this.element.replaceChildren(makeError(detail)),
    );
    if (trace.size) this.#show();
  }

  get id() {
    return this.#trace.id;
  }

  /** Mark the event that is open, wherever it stands. */
  markOpen(id) {
    if (id === this.#openId) return;
    this.#openId = id;
    this.tree.markOpen(id);
  }

  #show() {
    if (this.#summary.parentNode === null) this.#build();
    const { events, isMore, isRead, top } = this.#trace;
    const scale = scaleOf(events);
    this.#showSummary(scale);
    this.#to.textContent = duration(scale.to - scale.from);
    this.#note.textContent = `The first ${whole(MOST_EVENTS)} events of it; the list shows all.`;
    this.#note.hidden = !isMore;
    this.tree.show(top, scale);
    if (!isRead || this.#isRevealed) return;
    this.#isRevealed = true;
    this.#showProperties();
    this.tree.markOpen(this.#openId);
    this.tree.reveal();
  }

  #build() {
    const heads = ["Tokens", "Cost", "Latency"].map((name) => make("span", {}, name));
    this.element.replaceChildren(
      this.#summary,
      make("code", { class: "session-id", dir: "auto" }, this.id),
      make("p", { class: "tree-axis", "aria-hidden": "true" }, this.#from, this.#to, ...heads),
      this.tree.element,
      this.#note,
      this.#properties,
    );
  }

  #showProperties() {
    const { properties } = this.#trace;
    this.#properties.hidden = Object.keys(properties).length === 0;
    this.#properties.replaceChildren(
      make("h3", { class: "section-title" }, "Properties"),
      makeJson(properties),
    );
  }

  #showSummary({ from, to }) {
    const { size, isMore, top } = this.#trace;
    const { errors, tokens_in: asked, tokens_out: answered, cost } = total(top);
    const tokens = asked + answered;
    const said = [
      make("b", {}, `${count(size, "event")}${isMore ? "+" : ""}`),
      make("span", {}, duration(to - from)),
      tokens ? make("span", {}, count(tokens, "token")) : "",
      cost ? make("span", {}, dollars(cost)) : "",
      errors ? make("span", { class: "bad" }, count(errors, "error")) : "",
    ];
    for (const child of [...this.#summary.childNodes]) if (child !== this.#only) child.remove();
    if (this.#only.parentNode === null) this.#summary.append(this.#only);
    this.#only.before(...said.filter(Boolean));
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
