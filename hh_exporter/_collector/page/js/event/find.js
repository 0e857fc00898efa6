/*
 * Marks what was searched for in the open event, and goes from match to match.
 *
 * The document stays as it is: marks are highlights (CSS Custom Highlight API), and nothing more is
 * shown than what leads to the match that is gone to.
 */

import { make, makeButton, oncePerFrame } from "../common/dom.js";
import { whole } from "../common/format.js";
import { Passages } from "./passages.js";
import { patternOf } from "./pattern.js";

const MOST = 1_000;
const MARGIN = 60; // pixels that a match keeps from the edges of what is in sight
const TIMES = 20; // steps to a match that comes in slices, and frames to bring it into sight
const STANDSTILL = 5; // of these, for one in which nothing could be scrolled

/** Tells `elsewhere`: go to where all of the event is. */
export class Find extends EventTarget {
  #words = [];
  #pattern = null;
  #content = null;
  #raw = null; // () => the text that has all of the event, or null if it is shown
  #passages = null;
  #text = null;
  #matches = [];
  #isMore = false;
  #current = -1;
  #label = make("span", { class: "find-label", role: "status" });
  #elsewhere = makeButton("Show in Raw JSON", () => this.#tell("elsewhere"));
  #previous = makeButton("‹", () => this.step(-1), {
    "aria-label": "Previous match (N)",
    title: "Previous match (N)",
  });
  #next = makeButton("›", () => this.step(1), {
    "aria-label": "Next match (n)",
    title: "Next match (n)",
  });
  #bar = make("div", { class: "find" }, this.#label, this.#elsewhere, this.#previous, this.#next);
  #lookSoon = oncePerFrame(() => this.#content?.isConnected && this.#look());
  #changes = new MutationObserver(this.#lookSoon);

  get hasMatches() {
    return this.#matches.length > 0;
  }

  /** Look for other words from now on; the first match comes into sight. */
  setWords(words) {
    if (words.join("\n") === this.#words.join("\n")) return;
    this.#words = words;
    this.#pattern = patternOf(words);
    this.#text = null;
    if (this.#content !== null) this.#start(true);
  }

  /**
   * Look within `content` from now on, or nowhere if it is null.
   *
   * @param {Element|null} content
   * @param {{raw?: (() => string)|null, isSame?: boolean}} [options] isSame: it stays where it is
   */
  follow(content, { raw = null, isSame = false } = {}) {
    this.#content = content;
    this.#raw = raw;
    this.#text = null;
    this.#start(!isSame);
  }

  /** Go to the next match, or to the one before. */
  step(way) {
    if (!this.#matches.length) {
      if (!this.#elsewhere.hidden && this.#bar.isConnected) this.#tell("elsewhere");
      return;
    }
    const { length } = this.#matches;
    this.#goTo((this.#current + way + length) % length);
  }

  #start(isNew) {
    this.#changes.disconnect();
    if (this.#pattern === null || this.#content === null) {
      this.#bar.remove();
      this.#passages = null;
      this.#matches = [];
      paint("search", []);
      paint("search-current", []);
      return;
    }
    if (isNew) this.#current = 0;
    this.#content.prepend(this.#bar);
    this.#look();
    if (isNew && this.#matches.length) this.#goTo(0);
    this.#changes.observe(this.#content, { childList: true, subtree: true });
  }

  #look() {
    this.#passages = new Passages(this.#content, this.#bar);
    if (this.#passages.text !== this.#text) {
      this.#text = this.#passages.text;
      this.#matches = [];
      this.#pattern.lastIndex = 0;
      for (let found; (found = this.#pattern.exec(this.#text)) !== null; ) {
        if (this.#matches.length === MOST) break;
        this.#matches.push([found.index, found.index + found[0].length]);
      }
      this.#isMore = this.#matches.length === MOST || !this.#passages.isWhole;
      this.#current = Math.max(0, Math.min(this.#current, this.#matches.length - 1));
    }
    this.#paint();
    this.#tellCount();
  }

  #paint() {
    const ranges = this.#matches.map((match) => this.#passages.range(match));
    paint("search", ranges.filter((range) => range !== null));
    paint("search-current", [ranges[this.#current]].filter(Boolean));
  }

  #tellCount() {
    const { length } = this.#matches;
    const most = `${whole(length)}${this.#isMore ? "+" : ""}`;
    const text = length
      ? `${whole(this.#current + 1)} of ${most} ${most === "1" ? "match" : "matches"}`
      : "No match here";
    if (this.#label.textContent !== text) this.#label.textContent = text;
    this.#previous.hidden = this.#next.hidden = !length;
    this.#elsewhere.hidden = length > 0 || !this.#isInRaw();
  }

  #isInRaw() {
    this.#pattern.lastIndex = 0;
    return this.#raw !== null && this.#pattern.test(this.#raw());
  }

  #goTo(index) {
    this.#current = index;
    const match = this.#matches[index];
    for (let times = 0; times < TIMES && !this.#show(match); times += 1)
      this.#passages = new Passages(this.#content, this.#bar);
    this.#look();
    this.#scrollTo(match, TIMES);
  }

  /** Bring a match into the document; false if that has to be looked at again. */
  #show([from, to]) {
    for (const at of [to - 1, from]) {
      const { part, offset } = this.#passages.find(at);
      if (!(part instanceof Text)) {
        part.reach(offset + 1);
        return false;
      }
      for (let fold = part.parentElement.closest("details:not([open])"); fold !== null; ) {
        fold.open = true;
        fold = fold.closest("details:not([open])");
      }
    }
    return true;
  }

  /** Scroll until the match is in sight: what comes near has its real height only then. */
  #scrollTo(match, times) {
    if (this.#matches[this.#current] !== match || !this.#content?.isConnected) return;
    const { part, offset } = this.#passages.find(match[0]);
    if (!(part instanceof Text) || !part.isConnected) return;
    const range = document.createRange();
    range.setStart(part, offset);
    range.setEnd(part, Math.min(part.length, offset + match[1] - match[0]));
    const box = range.getBoundingClientRect();
    const frame = this.#content.getBoundingClientRect();
    if (box.left < frame.left || box.right > frame.right)
      part.parentElement.scrollIntoView({ block: "nearest", inline: "nearest" });
    if (box.top >= frame.top + MARGIN && box.bottom <= frame.bottom - MARGIN) return;
    const before = this.#content.scrollTop;
    this.#content.scrollTop += box.top - frame.top - frame.height / 3;
    const left = times - (this.#content.scrollTop === before ? STANDSTILL : 1);
    if (left > 0) requestAnimationFrame(() => this.#scrollTo(match, left));
  }

  #tell(type) {
    this.dispatchEvent(new CustomEvent(type));
  }
}

/** Browsers without highlights show no marks; matches are still counted and gone to. */
function paint(name, ranges) {
  if (!globalThis.CSS?.highlights) return;
  if (ranges.length) CSS.highlights.set(name, new Highlight(...ranges));
  else CSS.highlights.delete(name);
}
