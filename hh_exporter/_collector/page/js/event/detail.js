/*
 * The panel of the open event: its figures, and a tab for each way to look at it.
 *
 * It shows one event at a time; an answer that comes after another was opened is dropped.
 */

import { ApiError, readText } from "../common/api.js";
import { makeCopyButton } from "../common/clipboard.js";
import { make, makeButton, onceQuiet } from "../common/dom.js";
import { bytes, fullTime } from "../common/format.js";
import { listenForKeys } from "../common/keyboard.js";
import { indented, makeJsonText, memberText } from "../content/json.js";
import { readEvent } from "../shapes/event.js";
import { Path } from "../trace/path.js";
import { Session } from "../trace/session.js";
import { Trace } from "../trace/trace.js";
import { DOWN, Feedback, UP } from "./feedback.js";
import { Find } from "./find.js";
import { makeFirst } from "./first.js";
import { makeBar, makeFacts } from "./head.js";
import { makeSections, makeTableOrJson } from "./sections.js";

const TABS = [
  ["conversation", "Conversation"],
  ["session", "Session"],
  ["parameters", "Details"],
  ["raw", "Raw JSON"],
];
const LONGEST_TO_INDENT = 2_000_000;
const CALM = 150; // milliseconds for which an event is open before its session is read
const OFTEN = 1_000;
const SELDOM = 5_000;

/** Tells `close`, `tab` {tab}, `open` {id}, `only` {session}, and of which `session` the event is. */
export class Detail extends EventTarget {
  id = null;

  #panel;
  #reading = new AbortController();
  #shown = null; // {summary, event, text}
  #isMissed = false; // the collector did not answer
  #tab = "conversation";
  #path = new Path();
  #find = new Find();
  #head = make("div", { class: "detail-head" });
  #content = make("div", { class: "detail-content" });
  #feedback = new Feedback();
  #trace = null;
  #session = null;
  #placeSoon = onceQuiet(CALM, () => this.#readPlace());

  constructor(panel) {
    super();
    this.#panel = panel;
    panel.append(this.#path.element, this.#head, this.#content, this.#feedback.element);
    this.#path.addEventListener("open", ({ detail }) => this.#tell("open", detail));
    this.#path.addEventListener("tree", () => this.#tell("tab", { tab: "session" }));
    this.#find.addEventListener("elsewhere", () => this.#tell("tab", { tab: "raw" }));
    listenForKeys({
      n: () => this.isOpen && this.#find.step(1),
      N: () => this.isOpen && this.#find.step(-1),
      "[": () => this.isOpen && this.#path.step(-1),
      "]": () => this.isOpen && this.#path.step(1),
      "+": () => this.isOpen && this.#feedback.rate(UP),
      "-": () => this.isOpen && this.#feedback.rate(DOWN),
      a: () => this.isOpen && this.#feedback.focusNote(),
    });
  }

  get isOpen() {
    return this.id !== null;
  }

  /** Mark these words in the open event, and in those that are opened later. */
  find(words) {
    this.#find.setWords(words);
  }

  /** Show the event of this row, or nothing if it is null. */
  async show(id, tab) {
    this.#tab = TABS.some(([name]) => name === tab) ? tab : "conversation";
    if (id === this.id) {
      if (this.#shown === null) return;
      this.#markTab();
      this.#drawTab(false);
      return;
    }
    this.#reading.abort();
    this.#isMissed = false;
    this.#shown = null;
    this.#feedback.leave();
    this.id = id;
    this.#panel.hidden = id === null;
    if (id === null) {
      this.#clear();
      this.#closeTrace();
      return;
    }
    await this.#read();
  }

  /** Show what is known now of some events: of the open one, and of those of its session. */
  update(rows) {
    this.#trace?.update(rows);
    if (rows.some(({ id }) => id === this.id)) this.#read();
  }

  /** Read what could not be read while the collector was away. */
  retry() {
    if (this.#isMissed) this.#read();
  }

  /** Show the open event as it is now, whatever changed. */
  reread() {
    if (this.isOpen) this.#read();
  }

  /** Read the open event; what was asked before is older. */
  async #read() {
    this.#reading.abort();
    this.#reading = new AbortController();
    this.#isMissed = false;
    const { signal } = this.#reading;
    try {
      const text = await readText(`/api/events/${this.id}`, { signal });
      if (signal.aborted) return;
      const before = this.#shown?.event; // then more is known of it now
      this.#shown = { ...JSON.parse(text), text };
      const isKept =
        before !== undefined &&
        this.#tab === "conversation" &&
        firstText(before) === firstText(this.#shown.event);
      this.#draw(before !== undefined, isKept);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      const isGone = error.status === 404;
      this.#isMissed = !isGone;
      if (this.#isMissed && this.#shown !== null) return; // what is known can be read on
      this.#shown = null;
      const reason = isGone ? "This event is not here any more, or never was." : error.message;
      this.#clear(makeBar("Event", null, () => this.#tell("close")));
      this.#content.append(make("p", { class: "nothing" }, reason));
    }
  }

  #clear(...head) {
    this.#path.show(null);
    this.#head.replaceChildren(...head);
    this.#content.replaceChildren();
    this.#feedback.element.hidden = true;
    this.#find.follow(null);
  }

  /** Draw all, but for the content where somebody reads what has not changed. */
  #draw(isSame, isKept) {
    const { summary, event } = this.#shown;
    const hadFocus = this.#panel.contains(document.activeElement);
    const wasInTree = document.activeElement.matches(".tree-row");
    const focusedId = document.activeElement.id;
    const { scrollTop } = this.#content;
    const tabs = make("div", {
      class: "tabs",
      role: "tablist",
      "aria-label": "Views of the event",
    });
    tabs.append(...TABS.map(([name, label]) => this.#makeTab(name, label)));
    tabs.addEventListener("keydown", (event) => this.#walkTabs(event));
    if (!isKept) this.#renewContent();
    const bar = makeBar(summary.name || "unnamed", summary.type, () => this.#tell("close"));
    this.#head.replaceChildren(bar, makeFacts(summary), tabs);
    this.#feedback.element.hidden = false;
    this.#feedback.show(summary.event_id, event.feedback);
    this.#tell("session", { session: summary.session_id });
    this.#showPlace();
    this.#placeSoon();
    this.#markTab();
    if (!isKept) this.#drawTab(isSame);
    const isSession = this.#session?.element.isConnected;
    if (isSame || isSession) this.#content.scrollTop = scrollTop;
    if (isSession && !isSame) this.#session.tree.reveal();
    if (isSession && wasInTree) this.#session.tree.focus();
    else if (hadFocus)
      (document.getElementById(focusedId) ?? this.#content).focus({ preventScroll: true });
  }

  #renewContent() {
    const content = make("div", {
      class: "detail-content",
      id: "detail-content",
      role: "tabpanel",
      tabindex: 0,
    });
    this.#content.replaceWith(content);
    this.#content = content;
  }

  #makeTab(name, label) {
    return makeButton(label, () => this.#tell("tab", { tab: name }), {
      role: "tab",
      id: `tab-${name}`,
      "data-tab": name,
      "aria-controls": "detail-content",
    });
  }

  #walkTabs(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const at = TABS.findIndex(([name]) => name === this.#tab);
    const [next] = TABS[(at + step + TABS.length) % TABS.length];
    this.#tell("tab", { tab: next });
    this.#panel.querySelector(`#tab-${next}`).focus();
  }

  #markTab() {
    for (const tab of this.#panel.querySelectorAll("[role=tab]")) {
      const isSelected = tab.dataset.tab === this.#tab;
      tab.setAttribute("aria-selected", String(isSelected));
      tab.tabIndex = isSelected ? 0 : -1;
    }
    this.#content.setAttribute("aria-labelledby", `tab-${this.#tab}`);
  }

  #drawTab(isSame) {
    this.#content.scrollTop = 0;
    const { event, summary } = this.#shown;
    this.#trace?.follow(this.#tab === "session" ? OFTEN : SELDOM);
    if (this.#tab === "session") this.#drawSession(summary);
    else if (this.#tab === "raw") this.#content.replaceChildren(...this.#makeRaw());
    else if (this.#tab === "parameters")
      this.#content.replaceChildren(makeDetails(event, summary));
    else {
      const showSession = () => this.#tell("tab", { tab: "session" });
      this.#content.replaceChildren(makeFirst(readEvent(event), showSession));
    }
    const raw = this.#tab === "raw" ? null : () => this.#rawText;
    this.#find.follow(this.#tab === "session" ? null : this.#content, { raw, isSame });
  }

  /** One session stays as it is while its events are opened, one after the other. */
  #drawSession({ id, session_id: sessionId }) {
    if (this.#session?.id !== sessionId) {
      this.#session = new Session(this.#traceOf(sessionId));
      this.#session.addEventListener("open", ({ detail }) => this.#tell("open", detail));
      this.#session.addEventListener("only", () => this.#tell("only", { session: sessionId }));
    }
    const { element, tree } = this.#session;
    if (element.parentNode !== this.#content) {
      this.#content.replaceChildren(element);
      tree.mount(this.#content);
    }
    this.#session.markOpen(id);
  }

  /** The session of the open event; it is read once for all that show some of it. */
  #traceOf(id) {
    if (this.#trace?.id === id) return this.#trace;
    this.#closeTrace();
    const trace = new Trace(id);
    this.#trace = trace;
    trace.addEventListener("change", () => trace === this.#trace && this.#showPlace());
    trace.follow(this.#tab === "session" ? OFTEN : SELDOM);
    trace.read();
    return trace;
  }

  #readPlace() {
    if (this.#shown === null) return;
    const trace = this.#traceOf(this.#shown.summary.session_id);
    if (trace.find(this.id) === null) trace.ask();
  }

  #showPlace() {
    const isIts = this.#trace?.id === this.#shown?.summary.session_id;
    this.#path.show((isIts && this.#trace?.find(this.id)) || null, this.#trace?.top);
  }

  #closeTrace() {
    this.#trace?.close();
    this.#trace = null;
    this.#session = null;
  }

  get #rawText() {
    return memberText(this.#shown.text, "event") ?? JSON.stringify(this.#shown.event);
  }

  #makeRaw() {
    const text = this.#rawText;
    const read = () => (text.length > LONGEST_TO_INDENT ? text : indented(text));
    const bar = make(
      "p",
      { class: "raw-bar" },
      make("span", {}, bytes(new TextEncoder().encode(text).length)),
      makeCopyButton("Copy", read),
    );
    return [bar, makeJsonText(text)];
  }

  #tell(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** All of an event that `makeFirst` shows. */
function firstText(event) {
  const read = readEvent(event);
  const sections = read.sections.filter(([title]) => title === "Inputs" || title === "Outputs");
  return JSON.stringify({ ...read, sections });
}

function makeDetails(event, summary) {
  const identity = {
    event_id: summary.event_id,
    session_id: summary.session_id,
    ...(event.parent_id ? { parent_id: event.parent_id } : {}),
    route: summary.path,
    start: fullTime(summary.start),
    arrived: fullTime(summary.time),
  };
  const sections = [...readEvent(event).sections, ["Event", identity]];
  return makeSections(...sections.map(([title, value]) => [title, makeTableOrJson(value)]));
}
