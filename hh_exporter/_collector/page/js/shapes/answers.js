/*
 * Where a response has its answer, of whichever API.
 *
 * Nothing here touches the document.
 */

import { readAddress, readBytes } from "./media.js";
import { readMessages } from "./messages.js";
import { first, isEmpty, isObject, list, object, parsed, without } from "./values.js";

const WRAPPERS = ["response", "message", "body", "result", "output"];
const OF_MESSAGE = [
  ...["role", "content", "parts", "name", "refusal", "tool_calls", "function_call"],
  ...["reasoning", "reasoning_content", "thinking", "thinking_blocks", "tool_plan"],
  ...["audio", "images", "citations", "annotations", "tool_results"],
];

/** By members of a response: how its messages are read. The first form that has any counts. */
const FORMS = [
  { names: ["choices"], read: ({ choices }) => list(choices).flatMap(readChoice) },
  { names: ["candidates"], read: ({ candidates }) => list(candidates).flatMap(readCandidate) },
  { names: ["output"], read: ({ output }) => readOutput(output) },
  {
    names: ["generations"],
    read: ({ generations }) => list(generations).flat().flatMap(readChoice),
  },
  ...["output_messages", "gen_ai.output.messages"].map((name) => ({
    names: [name],
    read: (response) => readMessages(list(parsed(response[name]))),
  })),
  { names: ["data"], read: readImages },
  { names: ["text", "generation_id"], read: readOne, used: ["text", ...OF_MESSAGE] },
  { names: ["role", "content"], read: readOne, used: OF_MESSAGE },
];

/** Forms that what a tool returns may have as well. */
const LOOSE_FORMS = [
  ...["role", "content", "tool_calls", "parts"].map((name) => {
    return { names: [name], read: readOne, used: OF_MESSAGE };
  }),
  ...["completion", "outputText"].map((name) => {
    return { names: [name], read: (response) => readText(response[name]) };
  }),
];

/**
 * Read the answer that a response has; `isLoose` allows for what only looks like one.
 *
 * @returns {{messages: import("./messages.js").Message[], rest: object}|null} null if it has none
 */
export function readResponse(response, isLoose) {
  if (!isObject(response)) return null;
  for (const { names, read, used } of isLoose ? [...FORMS, ...LOOSE_FORMS] : FORMS) {
    const messages = names.every((name) => name in response) ? read(response) : [];
    if (messages.length)
      return { messages: messages.map(asAssistant), rest: without(response, used ?? names) };
  }
  for (const name of WRAPPERS) {
    const value = response[name];
    const isMessage = isLoose && (name === "response" || name === "message");
    if (isMessage && !isObject(value) && !isEmpty(value))
      return { messages: readAnswer(value), rest: without(response, [name]) };
    const inner = readResponse(value, isMessage);
    if (inner === null) continue;
    const kept = isEmpty(inner.rest) ? {} : { [name]: inner.rest };
    return { messages: inner.messages, rest: { ...without(response, [name]), ...kept } };
  }
  return null;
}

/** Read an answer as such, whatever it is. */
export function readAnswer(value) {
  if (isEmpty(value)) return [];
  const known = readResponse(value, true);
  if (known !== null) return known.messages;
  const areParts = Array.isArray(value) && value.every((one) => !isObject(one) || !("role" in one));
  const said = areParts && !isItems(value) ? [{ role: "assistant", content: value }] : value;
  return readMessages(Array.isArray(said) ? said : [said]).map(asAssistant);
}

function readOne(message) {
  return readMessages([message]);
}

function readChoice(choice) {
  const { message, text } = object(choice);
  return readMessages([first(message, text, choice)]);
}

function readCandidate(candidate) {
  return readMessages([first(object(candidate).content, candidate)]);
}

/** Items of OpenAI Responses, or what Bedrock Converse wraps its message in. */
function readOutput(output) {
  if (isObject(output)) return isObject(output.message) ? readMessages([output.message]) : [];
  return isItems(output) ? readMessages(output) : [];
}

function isItems(value) {
  return list(value).length > 0 && value.every((one) => typeof object(one).type === "string");
}

/** Images that were made; embeddings have the same member. */
function readImages({ data, created }) {
  const parts = list(data).flatMap((one) => {
    const { b64_json: bytes, url, revised_prompt: prompt } = object(one);
    let image = null;
    if (typeof bytes === "string" && bytes) image = readBytes("image", "image/png", bytes);
    else if (typeof url === "string" && url && created) image = readAddress("image", url);
    const words = typeof prompt === "string" && prompt ? [{ kind: "text", text: prompt }] : [];
    return image ? [image, ...words] : [];
  });
  return parts.length ? [{ role: "assistant", name: "", parts }] : [];
}

function readText(text) {
  return typeof text === "string" && text ? readMessages([text]) : [];
}

function asAssistant(message) {
  return message.role === "unknown" ? { ...message, role: "assistant" } : message;
}
