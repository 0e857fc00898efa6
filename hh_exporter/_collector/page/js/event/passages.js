/*
 * What an open event says, as one text, and where in the document each part of it stands.
 *
 * What is not shown yet is part of it, in its place; so a match keeps its number when it is shown.
 */

import { RESTS, restOf } from "../content/rests.js";

const INLINE = new Set(
  ["a", "b", "bdi", "code", "del", "em", "i", "mark", "s", "span", "strong", "sub", "sup"], //
);
const SKIPPED = new Set(["button", "select", "input", "textarea"]);
const BETWEEN = "\u0000"; // no word holds it: no match reaches from one block into the next
const MOST_TEXT = 16_000_000;
const MOST_DRAWS = 20;

export class Passages {
  text = "";
  isWhole = true; // or there is too much to look at

  #starts = []; // of the parts, ascending
  #parts = []; // text nodes, and rests

  /** Read what is within `root`, but for what is within an element of `besides`. */
  constructor(root, besides) {
    this.isWhole = drawItems(root);
    const texts = [];
    let length = 0;
    let block = null;
    const add = (part, text, parent) => {
      const itsBlock = blockOf(parent);
      if (block !== null && itsBlock !== block) {
        texts.push(BETWEEN);
        length += 1;
      }
      block = itsBlock;
      const known = text.length > MOST_TEXT - length ? text.slice(0, MOST_TEXT - length) : text;
      if (known.length < text.length) this.isWhole = false;
      this.#starts.push(length);
      this.#parts.push(part);
      texts.push(known);
      length += known.length;
    };
    const accept = (node) =>
      node === besides || SKIPPED.has(node.localName)
        ? NodeFilter.FILTER_REJECT
        : NodeFilter.FILTER_ACCEPT;
    const walker = document.createTreeWalker(
      root,
      NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT,
      accept,
    );
    while (walker.nextNode() && length < MOST_TEXT) {
      const node = walker.currentNode;
      const rest = node instanceof Text ? null : restOf(node);
      if (node instanceof Text) add(node, node.data, node.parentElement);
      else if (rest?.text) add(rest, rest.text(), node.parentElement);
    }
    this.text = texts.join("");
  }

  /** Where an offset of the text stands: {part, offset}; a part is a text node or a rest. */
  find(offset) {
    let low = 0;
    let high = this.#starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#starts[middle] <= offset) low = middle;
      else high = middle - 1;
    }
    return { part: this.#parts[low], offset: offset - this.#starts[low] };
  }

  /** The range of [from, to), or null if not all of it is in the document. */
  range([from, to]) {
    const start = this.find(from);
    const end = this.find(to - 1);
    if (!(start.part instanceof Text && end.part instanceof Text)) return null;
    return new StaticRange({
      startContainer: start.part,
      startOffset: start.offset,
      endContainer: end.part,
      endOffset: end.offset + 1,
    });
  }
}

/** Make what of a list is not in the document yet, as it can't be read otherwise; not too much. */
function drawItems(root) {
  for (let draws = 0; draws < MOST_DRAWS; draws += 1) {
    const waiting = [...root.querySelectorAll(RESTS)].find((element) => restOf(element)?.draw);
    if (waiting === undefined) return true;
    restOf(waiting).draw();
  }
  return false;
}

/** The element whose text reads on through inline elements and slices. */
function blockOf(element) {
  let block = element;
  while (INLINE.has(block.localName) || block.classList.contains("slice"))
    block = block.parentElement;
  return block;
}
