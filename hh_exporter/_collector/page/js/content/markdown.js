/*
 * Markdown as elements.
 *
 * A library reads it, and `make` makes what it finds, so that markup in a text stays text. What it
 * would not show whole is not shown here at all: then the caller shows the text as it came.
 */

import MarkdownIt from "../../vendor/markdown-it/markdown-it.esm.min.js";
import { make } from "../common/dom.js";
import { readAddress } from "../shapes/media.js";
import { makeCode } from "./code.js";
import { makeLink, tellAddress } from "./links.js";
import { makeMedia } from "./media.js";

export const LONGEST = 50_000; // the worst text of this length is read within half a second
const MOST_TOKENS = 15_000;
const PARTS_OF_CODE = 8; // a block of code has a button, and more
const DEEPEST = 32; // the library drops what is deeper
const ROW = 60; // characters that fit into one, more or less
const LINE = 20; // pixels

const parser = new MarkdownIt({
  html: false,
  linkify: true,
  breaks: true,
  maxNesting: DEEPEST,
}).disable("reference"); // it would hide the lines that define links
parser.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false });

const TAGS = { paragraph: "p", list_item: "li", bullet_list: "ul", ordered_list: "ol" };
const SAME = /^(?:blockquote|table|thead|tbody|tr|th|td|em|strong|s)$/;
const OF_OWN_DIRECTION = new Set(["p", "li", "th", "td"]);
const TASK = /^\[([ xX])\] /;

/** Make the elements of a text, or null if it is plain text, or too much. */
export function makeMarkdown(text) {
  if (text.length > LONGEST) return null;
  const tokens = parser.parse(text, {});
  if (isPlain(tokens) || isTooMuch(tokens)) return null;
  const body = make("div", { class: "markdown" });
  fill(body, tokens);
  // It is laid out when it comes near; until then its height is a guess.
  body.style.containIntrinsicBlockSize = `auto ${Math.ceil(text.length / ROW) * LINE}px`;
  return body;
}

/** Nothing but lines of text: those are best as they came, with all their spaces. */
function isPlain(tokens) {
  const isText = ({ type }) => type === "text" || type === "softbreak";
  return tokens.every(
    ({ type, children }) =>
      type.startsWith("paragraph_") || (type === "inline" && children.every(isText)),
  );
}

function isTooMuch(tokens) {
  let count = tokens.length;
  for (const { type, level, children } of tokens) {
    if (level >= DEEPEST - 1) return true;
    count += type === "fence" || type === "code_block" ? PARTS_OF_CODE : (children?.length ?? 0);
  }
  return count > MOST_TOKENS;
}

/** Append what the tokens say; they open and close like brackets. */
function fill(root, tokens) {
  const places = [root];
  for (const token of tokens) {
    const place = places.at(-1);
    if (token.nesting > 0) {
      places.push(token.hidden ? place : open(place, token));
    } else if (token.nesting < 0) {
      places.pop();
      if (token.type === "link_close") tellAddress(place);
    } else {
      appendLeaf(place, token);
    }
  }
}

/** Append what a token opens, and return it. */
function open(place, token) {
  const kind = token.type.slice(0, -"_open".length);
  const element = makeElement(kind, token);
  place.append(kind === "table" ? makeFrame(element) : element);
  return element;
}

function makeElement(kind, token) {
  if (kind === "link") return makeLink(token.attrGet("href") ?? "");
  if (kind === "heading") {
    const level = Number(token.tag.slice(1)); // the message itself has a heading of level 3
    return make(`h${Math.min(6, level + 3)}`, { class: `level-${level}`, dir: "auto" });
  }
  const tag = TAGS[kind] ?? (SAME.test(kind) ? kind : "span");
  const align = /right|center/.exec(token.attrGet("style") ?? "");
  return make(tag, {
    dir: OF_OWN_DIRECTION.has(tag) ? "auto" : null,
    start: kind === "ordered_list" ? token.attrGet("start") : null,
    class: align && `is-${align[0]}`,
  });
}

/** What is wide scrolls in a frame of its own. */
function makeFrame(table) {
  const attributes = { class: "table-frame", role: "region", tabindex: 0, "aria-label": "Table" };
  return make("div", attributes, table);
}

function appendLeaf(place, token) {
  switch (token.type) {
    case "inline":
      if (place.closest("li") !== null && !place.hasChildNodes()) appendBox(place, token.children);
      fill(place, token.children);
      break;
    case "fence":
    case "code_block":
      place.append(makeCode(token.content.replace(/\n$/, ""), token.info.trim()));
      break;
    case "hr":
      place.append(make("hr"));
      break;
    case "softbreak":
    case "hardbreak":
      place.append(make("br"));
      break;
    case "code_inline":
      place.append(make("code", { dir: "auto" }, token.content));
      break;
    case "image":
      place.append(makeImage(place, token));
      break;
    default:
      place.append(token.content);
  }
}

/** Append the box of a task, if this is one, in place of its sign. */
function appendBox(place, [first]) {
  const item = place.closest("li");
  const isFirst = place === item || place === item.firstChild;
  if (!isFirst || first?.type !== "text" || !TASK.test(first.content)) return;
  const isDone = first.content[1] !== " ";
  first.content = first.content.slice(4);
  item.classList.add("is-task");
  const label = isDone ? "Done" : "To do";
  const box = make("span", { class: "task", role: "img", "aria-label": label }, isDone ? "☑" : "☐");
  place.append(box, " ");
}

/** An image within a link is only named: a click on it would have two meanings. */
function makeImage(place, token) {
  const source = readAddress("image", token.attrGet("src") ?? "");
  return makeMedia({ ...source, name: token.content }, { isChip: place.closest("a") !== null });
}
