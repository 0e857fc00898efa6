/*
 * Where the open event stands: what led to it, and which of its siblings it is.
 *
 * Until the session is read it holds the place, so that nothing moves when it comes.
 */

import { make, makeButton } from "../common/dom.js";
import { count, whole } from "../common/format.js";
import { wayTo } from "./branches.js";
import { nameOf } from "./treerow.js";

const MOST_ABOVE = 4; // of more, the first and the last ones are shown

/** Tells `open` {id} and `tree`. */
export class Path extends EventTarget {
  element = make("nav", { class: "path", "aria-label": "Place in the session" });

  #siblings = [];
  #place = 0; // among them; the first is 1

  /** Show a place in a tree, or that it is not known. */
  show(node, top) {
    this.#siblings = node === null ? [] : (node.parent?.children ?? top);
    this.#place = node?.place ?? 0;
    const focused = document.activeElement;
    const hadFocus = this.element.contains(focused);
    if (node === null) this.element.replaceChildren();
    else {
      const way = node.parent === null ? this.#makeTop(node) : this.#makeWay(node);
      this.element.replaceChildren(way, ...this.#makeSiblings());
    }
    if (hadFocus) document.getElementById(focused.id)?.focus({ preventScroll: true });
  }

  /** Open the sibling that is so many further on, if there is one. */
  step(by) {
    const sibling = this.#siblings[this.#place - 1 + by];
    if (sibling !== undefined) this.#open(sibling);
  }

  /** What has nothing above it: its name is its title. */
  #makeTop({ event, sum }) {
    const below = sum.events - 1;
    const isAlone = !below && this.#siblings.length === 1;
    const text = isAlone
      ? "The only event of its session"
      : below
        ? `The root of ${count(below, "event")}`
        : "At the top of its session";
    return make("p", { id: `path-${event.id}`, tabindex: -1 }, text);
  }

  #makeWay(node) {
    const above = wayTo(node);
    const steps = above.map((one) =>
      makeButton(nameOf(one.event), () => this.#open(one), {
        id: `path-${one.event.id}`,
        title: `${one.event.type} · ${nameOf(one.event)}`,
        dir: "auto",
      }),
    );
    if (above.length > MOST_ABOVE) {
      const left = steps.splice(1, above.length - MOST_ABOVE + 1).length;
      const label = `${whole(left)} more above: show the tree`;
      const more = makeButton("…", () => this.#tell("tree"), { "aria-label": label, title: label });
      steps.splice(1, 0, more);
    }
    const name = nameOf(node.event);
    const here = make(
      "span",
      { id: `path-${node.event.id}`, "aria-current": "page", tabindex: -1, dir: "auto", title: name },
      name,
    );
    return make("ol", {}, ...[...steps, here].map((step) => make("li", {}, step)));
  }

  #makeSiblings() {
    const size = this.#siblings.length;
    if (size === 1) return [];
    const makeStep = (by, label, id, text) =>
      makeButton(text, () => this.step(by), {
        id,
        class: "quiet step",
        "aria-label": label,
        title: label,
        "aria-disabled": this.#siblings[this.#place - 1 + by] === undefined ? "true" : null,
      });
    return [
      make("span", { class: "among" }, `${whole(this.#place)} of ${whole(size)}`),
      makeStep(-1, "Previous beside it ([)", "sibling-before", "‹"),
      makeStep(1, "Next beside it (])", "sibling-after", "›"),
    ];
  }

  #open({ event }) {
    this.#tell("open", { id: event.id });
  }

  #tell(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
