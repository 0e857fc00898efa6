/*
 * An event as a conversation: who said what, what tools were called with, what came back.
 *
 * Nothing that a message names is loaded, and no text of it is more than text.
 */

import { make } from "../common/dom.js";
import { isError, whole } from "../common/format.js";
import { makeCode } from "./code.js";
import { isJsonText } from "./json.js";
import { makeLink, tellAddress } from "./links.js";
import { makeMedia } from "./media.js";
import { makeReading, makeReturned } from "./reading.js";
import { makeFold } from "./rests.js";
import { appendItems, makeText } from "./slices.js";
import { makeData, makeJsonData } from "./values.js";

const PRETTY = new Map([
  ["system", "System"],
  ["developer", "Developer"],
  ["user", "User"],
  ["assistant", "Assistant"],
  ["model", "Assistant"],
  ["prompt", "Prompt"],
  ["tool", "Tool"],
  ["function", "Tool"],
]);
const MESSAGES = 60;

/** Show what was asked, and the answer or the error. */
export function makeConversation({ messages, answer, error }) {
  const body = make("div", { class: "conversation" });
  const all = [...messages, ...answer.map((message) => ({ ...message, isAnswer: true }))];
  // The last ones are why one looks: a long past is folded away.
  const folded = Math.max(0, all.length - MESSAGES);
  if (folded) {
    const past = make("div", { class: "conversation" });
    const label = `${whole(folded)} earlier messages`;
    const fold = makeFold({ class: "past" }, label, () =>
      appendItems(past, all.slice(0, folded), makeMessage, "message", MESSAGES),
    );
    fold.append(past);
    body.append(fold);
  }
  // The last ones are made first: they shall be rendered, whatever was before them.
  body.append(...all.slice(folded).reverse().map(makeMessage).reverse());
  if (error !== null) body.append(isError({ error }) ? makeError(error) : makeCancelled());
  return body;
}

function makeCancelled() {
  const words = makeText("The call was cancelled.");
  return make("article", { class: "message" }, make("h3", {}, "Cancelled"), words);
}

/** Show an error's text. */
export function makeError(text) {
  return make(
    "article",
    { class: "message is-error" },
    make("h3", {}, "Error"),
    makeText(text || "The event has an error without a text."),
  );
}

function makeMessage({ role, name, parts, isAnswer }) {
  const heading = make(
    "h3",
    {},
    PRETTY.get(role) ?? make("bdi", {}, role),
    name ? make("code", { dir: "auto" }, name) : null,
  );
  if (isAnswer) heading.append(make("span", { class: "mark" }, "response"));
  const message = make(
    "article",
    { class: "message", "data-role": PRETTY.get(role) ?? "Other" },
    heading,
  );
  if (parts.length === 0) message.append(make("p", { class: "nothing" }, "Empty."));
  appendItems(message, parts, makePart, "part");
  return message;
}

function makePart(part) {
  switch (part.kind) {
    case "text":
      return makeReading(part.text);
    case "thought":
      return makeThought(part);
    case "refusal":
      return make("div", { class: "refusal" }, make("h4", {}, "Refusal"), makeReading(part.text));
    case "code":
      return makeCode(part.text, part.language);
    case "media":
      return makeMedia(part);
    case "sources":
      return makeSources(part);
    case "call":
      return makeCall(part);
    case "result":
      return makeResult(part);
    default:
      return makeData(part.value);
  }
}

function makeThought({ text, isHidden }) {
  if (isHidden) return make("p", { class: "nothing" }, "Reasoning, encrypted by the provider");
  return make(
    "details",
    { class: "thought", open: text.length < 600 },
    make("summary", {}, "Reasoning"),
    makeReading(text),
  );
}

/** What an answer refers to: titles, addresses, and the words that were quoted. */
function makeSources({ sources }) {
  const body = make("ol");
  const fold = makeFold({ class: "sources" }, `Sources (${whole(sources.length)})`, () =>
    appendItems(body, sources, makeSource, "source"),
  );
  fold.append(body);
  return fold;
}

function makeSource({ title, address, quote }) {
  const source = make("li", { dir: "auto" });
  const link = makeLink(address);
  link.append(title || link.dataset.address);
  source.append(link);
  if (address) tellAddress(link);
  if (quote) source.append(make("blockquote", { dir: "auto" }, makeText(quote)));
  return source;
}

function makeCall({ name, id, input }) {
  const heading = make(
    "h4",
    {},
    "Calls ",
    make("code", { dir: "auto" }, name),
    id ? make("span", { class: "id", dir: "auto" }, id) : null,
  );
  return make("div", { class: "call" }, heading, input === undefined ? null : makeInput(input));
}

/** The arguments are JSON, or a string of it. */
function makeInput(input) {
  if (typeof input !== "string") return makeData(input);
  return isJsonText(input) ? makeJsonData(input) : makeText(input, { class: "text mono" });
}

function makeResult({ name, id, isError, parts }) {
  const result = make("div", { class: isError ? "result is-error" : "result" });
  const named = name ? make("code", { dir: "auto" }, name) : null;
  const numbered = id ? make("span", { class: "id", dir: "auto" }, id) : null;
  if (named || numbered || isError)
    result.append(
      make(
        "h4",
        {},
        `${isError ? "Error" : "Result"}${named || numbered ? " of " : ""}`,
        named,
        numbered,
      ),
    );
  appendItems(result, parts, makeResultPart, "part");
  return result;
}

function makeResultPart(part) {
  return part.kind === "text" ? makeReturned(part.text) : makePart(part);
}
