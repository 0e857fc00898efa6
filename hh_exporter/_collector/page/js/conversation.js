/*
 * An event as a conversation: who said what, what tools were called with, what came back.
 *
 * Nothing that a message names is loaded, and no text of it is more than text.
 */

import { make } from "./dom.js";
import { isError, whole } from "./format.js";
import { isJsonText, makeJson, makeJsonText } from "./json.js";
import { makeFold } from "./rests.js";
import { appendItems, makeText } from "./slices.js";

const PRETTY = {
  system: "System",
  developer: "Developer",
  user: "User",
  assistant: "Assistant",
  model: "Assistant",
  tool: "Tool",
  function: "Tool",
};
const MESSAGES = 60;

/** Show what was asked, and the answer or the error. */
export function makeConversation({ messages, answer, error }) {
  const body = make("div", { class: "conversation" });
  const all = [...messages, ...answer.map((message) => ({ ...message, isAnswer: true }))];
  if (all.length === 0 && error === null)
    body.append(make("p", { class: "nothing" }, "No messages in this event."));
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
  body.append(...all.slice(folded).map(makeMessage));
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
    PRETTY[role] ?? make("bdi", {}, role),
    name ? make("code", { dir: "auto" }, name) : null,
  );
  if (isAnswer) heading.append(make("span", { class: "mark" }, "response"));
  const message = make(
    "article",
    { class: "message", "data-role": PRETTY[role] ?? "Other" },
    heading,
  );
  if (parts.length === 0) message.append(make("p", { class: "nothing" }, "Empty."));
  appendItems(message, parts, makePart, "part");
  return message;
}

function makePart(part) {
  switch (part.kind) {
    case "text":
      return makeText(part.text);
    case "thought":
      return make(
        "details",
        { class: "thought", open: part.text.length < 600 },
        make("summary", {}, "Reasoning"),
        makeText(part.text),
      );
    case "refusal":
      return make("div", { class: "refusal" }, make("h4", {}, "Refusal"), makeText(part.text));
    case "media":
      return make(
        "p",
        { class: "media", dir: "auto", title: "Named only: nothing is loaded" },
        part.label,
      );
    case "call":
      return makeCall(part);
    case "result":
      return makeResult(part);
    default:
      return makeJson(part.value);
  }
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
  if (typeof input !== "string") return makeJson(input);
  return isJsonText(input) ? makeJsonText(input) : makeText(input, { class: "text mono" });
}

function makeResult({ id, parts }) {
  const result = make("div", { class: "result" });
  if (id)
    result.append(make("h4", {}, "Result of ", make("span", { class: "id", dir: "auto" }, id)));
  appendItems(result, parts, makeResultPart, "part");
  return result;
}

/** What a tool returns is often JSON in a string. */
function makeResultPart(part) {
  return part.kind === "text" && isJsonText(part.text) ? makeJsonText(part.text) : makePart(part);
}
