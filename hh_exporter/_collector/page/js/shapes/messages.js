/*
 * Messages, in the form of whichever API: who said which parts.
 *
 * Nothing here touches the document.
 */

import { isItem, readItem } from "./items.js";
import { readBytes, readMedia } from "./media.js";
import { readCall, readContent, readSources } from "./parts.js";
import { asText, first, isEmpty, isObject, list, object, without } from "./values.js";

/** @typedef {{role: string, name: string, parts: import("./parts.js").Part[]}} Message */

const ROLES = new Map([
  ["human", "user"],
  ...["ai", "chatbot", "model"].map((role) => [role, "assistant"]),
]);
const RESULT_ROLES = new Set(["tool", "function"]);
const LANGCHAIN = new Set(["human", "ai", "system", "tool", "function"]);
const ENVELOPE = ["role", "content", "parts", "type", "id", "status"];

/** Read a list of messages, or of the items that OpenAI Responses has in their place. */
export function readMessages(values) {
  const messages = [];
  for (const value of values) {
    const message = readMessage(value);
    const last = messages.at(-1);
    // Items are parts of one turn of the assistant.
    const isSameTurn = message.isItem && last?.isItem && message.role === "assistant";
    if (isSameTurn && last.role === "assistant")
      for (const part of message.parts) last.parts.push(part);
    else messages.push(message);
  }
  return messages.map(({ role, name, parts }) => ({ role, name, parts }));
}

function readMessage(value) {
  if (isItem(value)) return { name: "", ...readItem(value), isItem: true };
  if (!isObject(value)) return { role: "unknown", name: "", parts: readContent(value) };
  const message = unwrapped(value);
  const role = roleOf(message);
  const parts = readParts(message);
  const name = asText(message.name ?? "");
  if (RESULT_ROLES.has(role) && !parts.some(({ kind }) => kind === "result")) {
    const id = asText(first(message.tool_call_id, message.id) ?? "");
    const isError = message.status === "error" || message.is_error === true;
    return { role, name, parts: [{ kind: "result", name: "", id, isError, parts }] };
  }
  const isOfAnotherForm = parts.length === 0 && !isEmpty(without(message, ENVELOPE));
  if (isOfAnotherForm) return { role, name, parts: [{ kind: "data", value: message }] };
  // Anthropic and Gemini have the results of tools in messages of the user.
  const areResults = parts.length > 0 && parts.every(({ kind }) => kind === "result");
  const isItemOfAnswer = message.type === "message" && role === "assistant";
  return { role: areResults ? "tool" : role, name, parts, isItem: isItemOfAnswer };
}

/** LangChain dumps a message as the arguments of its constructor. */
function unwrapped(value) {
  if (!isObject(value.kwargs) || value.lc === undefined) return value;
  const type = asText(list(value.id).at(-1) ?? "").replace(/Message(Chunk)?$/, "");
  return { type: type.toLowerCase(), ...value.kwargs };
}

function roleOf({ role, type }) {
  if (typeof role === "string" && role) return ROLES.get(role.toLowerCase()) ?? known(role);
  return LANGCHAIN.has(type) ? (ROLES.get(type) ?? type) : "unknown";
}

const known = (role) => (/^(?:USER|SYSTEM|TOOL)$/.test(role) ? role.toLowerCase() : role);

function readParts(message) {
  const said = first(message.content, message.parts, message.text, message.message);
  return [
    ...readThoughts(message),
    ...readContent(said),
    ...readSources(first(message.citations, message.annotations)),
    ...(typeof message.refusal === "string" && message.refusal
      ? [{ kind: "refusal", text: message.refusal }]
      : []),
    ...readAttached(message),
    ...list(message.tool_calls).map(readCall),
    ...(isObject(message.function_call) ? [readCall(message.function_call)] : []),
    ...list(message.tool_results).map(readToolResult),
  ];
}

function readThoughts(message) {
  const { reasoning_content: content, reasoning, thinking, tool_plan: plan } = message;
  const text = [content, reasoning, thinking, plan].find((one) => typeof one === "string" && one);
  const isHidden = list(message.thinking_blocks).some(
    (block) => object(block).type === "redacted_thinking",
  );
  return [
    ...(text ? [{ kind: "thought", text }] : []),
    ...(isHidden ? [{ kind: "thought", text: "", isHidden }] : []),
  ];
}

/** OpenAI's spoken answer, and Ollama's images. */
function readAttached(message) {
  const sound = isObject(message.audio) ? readMedia({ type: "audio", audio: message.audio }) : null;
  const images = list(message.images).flatMap((image) => {
    if (typeof image === "string") return readBytes("image", "image/png", image);
    return readContent(image);
  });
  if (sound === null) return images;
  const words = sound.transcript ? [{ kind: "text", text: sound.transcript }] : [];
  return [...words, sound, ...images];
}

/** Cohere's first API tells results beside the message. */
function readToolResult(result) {
  const { call, outputs } = object(result);
  const name = asText(object(call).name ?? "");
  return { kind: "result", name, id: "", isError: false, parts: readContent(outputs ?? result) };
}
