/*
 * Where a request has its messages, of whichever API.
 *
 * Nothing here touches the document.
 */

import { readMessages } from "./messages.js";
import { readContent } from "./parts.js";
import { isObject, list, object, parsed, without } from "./values.js";

const LISTS = ["messages", "chat_history", "contents", "input_messages", "gen_ai.input.messages"];
const SYSTEMS = [
  ...["system", "instructions", "system_instruction", "systemInstruction", "preamble"],
  ...["system_prompt", "system_instructions", "gen_ai.system_instructions"],
];
const WRAPPERS = ["request", "body", "kwargs", "request_body", "params"];

/**
 * Read the messages of a request.
 *
 * `isAnswered` tells that something was said back, so that a bare text is a message.
 *
 * @returns {{messages: import("./messages.js").Message[], rest: object}} the members that are
 *   no part of the conversation are the rest
 */
export function readRequest(value, isAnswered) {
  const request = object(value);
  const read = readOne(request, isAnswered);
  if (read.messages.length) return read;
  for (const name of WRAPPERS) {
    const inner = readOne(object(parsed(request[name])), isAnswered);
    if (!inner.messages.length) continue;
    const kept = Object.keys(inner.rest).length ? { [name]: inner.rest } : {};
    return { messages: inner.messages, rest: { ...without(request, [name]), ...kept } };
  }
  return { messages: [], rest: request };
}

function readOne(request, isAnswered) {
  const asked = readAsked(request, isAnswered);
  if (asked.messages.length === 0) return { messages: [], rest: request };
  const system = readSystems([request, object(request.config)]); // Gemini's client has a config
  const used = [...asked.used, ...SYSTEMS.filter((name) => request[name] !== undefined)];
  return { messages: [...system, ...asked.messages], rest: without(request, used) };
}

function readAsked(request, isAnswered) {
  for (const name of LISTS) {
    const value = parsed(request[name]);
    const isOne = name === "contents" && (isObject(value) || typeof value === "string");
    const values = isOne ? [value] : list(value);
    if (values.length) {
      const last = readLast(request, name);
      return { messages: [...readTurns(values), ...last.messages], used: [name, ...last.used] };
    }
  }
  const { input, prompt, message } = request;
  if (isItems(input)) return { messages: readTurns(input), used: ["input"] };
  if (typeof prompt === "string" && prompt) return readPrompts([prompt]);
  if (list(prompt).length && prompt.every((one) => typeof one === "string"))
    return readPrompts(prompt);
  if (!isAnswered) return { messages: [], used: [] };
  if (typeof input === "string" && input) return { messages: [says(input)], used: ["input"] };
  const isSaid = typeof message === "string" && message;
  return isSaid ? { messages: [says(message)], used: ["message"] } : { messages: [], used: [] };
}

/** Cohere's first API has the last message apart from the history. */
function readLast({ message }, name) {
  const isApart = name === "chat_history" && typeof message === "string" && message;
  return isApart ? { messages: [says(message)], used: ["message"] } : { messages: [], used: [] };
}

const says = (text) => ({ role: "user", name: "", parts: [{ kind: "text", text }] });

/** What is given without a role is the user's. */
function readTurns(values) {
  return readMessages(values).map((message) =>
    message.role === "unknown" ? { ...message, role: "user" } : message,
  );
}

function readPrompts(prompts) {
  const messages = prompts.map((text) => ({ ...says(text), role: "prompt" }));
  return { messages, used: ["prompt"] };
}

/** Messages and items are objects that say what they are; inputs of embeddings are not. */
function isItems(input) {
  return list(input).length > 0 && input.every((one) => isObject(one) && (one.role || one.type));
}

/** Read what the system is told in any of these objects. */
export function readSystems(places) {
  return places.flatMap((place) => {
    return SYSTEMS.flatMap((name) => readSystem(parsed(place[name]), name));
  });
}

function readSystem(value, name) {
  if (value === undefined || value === null || value === "") return [];
  const isMessages = Array.isArray(value) && value.every((one) => object(one).role);
  if (isMessages && name === "instructions") return readMessages(value);
  const parts = isObject(value) && value.parts ? readContent(value.parts) : readContent(value);
  return parts.length ? [{ role: "system", name: "", parts }] : [];
}
