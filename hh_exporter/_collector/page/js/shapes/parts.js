/*
 * The parts of a message, in the form of whichever API.
 *
 * What is not known stays as it is, as data. Nothing here touches the document.
 */

import { readAddress, readMedia } from "./media.js";
import { asText, first, isObject, list, object, textOf } from "./values.js";

/**
 * A part of a message.
 *
 * @typedef {{kind: "text"|"refusal", text: string}
 *   | {kind: "thought", text: string, isHidden?: boolean}
 *   | {kind: "code", language: string, text: string}
 *   | import("./media.js").Media
 *   | {kind: "call", name: string, id: string, input: any}
 *   | {kind: "result", name: string, id: string, isError: boolean, parts: Part[]}
 *   | {kind: "sources", sources: {title: string, address: string, quote: string}[]}
 *   | {kind: "data", value: any}} Part
 */

const CALLS = new Set(["tool_use", "server_tool_use", "mcp_tool_use", "tool_call", "tool-call"]);
const RESULTS = new Set(["tool_call_response", "tool-result"]);
const THOUGHTS = new Set(["thinking", "reasoning", "redacted_thinking"]);
const TEXTS = ["text", "content", "refusal", "output_text"];

/** @returns {Part[]} */
export function readContent(content) {
  if (content === undefined || content === null || content === "") return [];
  if (Array.isArray(content)) return content.flatMap(readPart);
  return readPart(content);
}

function readPart(part) {
  if (typeof part === "string") return part ? [{ kind: "text", text: part }] : [];
  if (!isObject(part)) return [{ kind: "data", value: part }];
  const type = typeof part.type === "string" ? part.type : "";
  return (
    readTool(part, type) ??
    readThought(part, type) ??
    readDocument(part, type) ??
    readText(part, type) ?? [{ kind: "data", value: part }]
  );
}

function readTool(part, type) {
  const call = first(part.functionCall, part.function_call, part.toolUse, part.toolCall);
  if (isObject(call)) return [readCall(call)];
  if (CALLS.has(type)) return [readCall(part)];
  const answer = first(part.functionResponse, part.function_response, part.toolResult);
  if (isObject(answer)) return [readResult(answer)];
  if (type.endsWith("tool_result") || RESULTS.has(type)) return [readResult(part)];
  const code = first(part.executableCode, part.executable_code);
  if (isObject(code)) {
    const language = asText(code.language ?? "").toLowerCase();
    return [{ kind: "code", language, text: asText(code.code ?? "") }];
  }
  const run = first(part.codeExecutionResult, part.code_execution_result);
  if (!isObject(run)) return null;
  const isError = !/OK$/.test(asText(run.outcome ?? "OK"));
  const name = "code execution";
  return [{ kind: "result", name, id: "", isError, parts: readContent(run.output) }];
}

/** Read a call of a tool, whose arguments may have any of these names. */
export function readCall(value) {
  const call = object(value);
  const inner = object(call.function);
  return {
    kind: "call",
    name: asText(first(inner.name, call.name, call.toolName) ?? "tool"),
    id: asText(
      first(call.call_id, call.id, call.toolUseId, call.toolCallId, call.tool_call_id) ?? "",
    ),
    input: first(inner.arguments, call.arguments, call.input, call.args, call.parameters),
  };
}

function readResult(result) {
  const { content, response, output } = result;
  const id = first(
    result.tool_use_id,
    result.toolUseId,
    result.tool_call_id,
    result.toolCallId,
    result.call_id,
    result.id,
  );
  return {
    kind: "result",
    name: asText(first(result.name, result.toolName) ?? ""),
    id: asText(id ?? ""),
    isError: result.is_error === true || result.status === "error",
    parts: readContent(first(content, response, output, result.result)).flatMap(readJsonPart),
  };
}

/** Bedrock has the JSON of a result in an object. */
function readJsonPart(part) {
  const isWrapped = part.kind === "data" && isObject(part.value) && "json" in part.value;
  return isWrapped ? [{ kind: "data", value: part.value.json }] : [part];
}

function readThought(part, type) {
  if (isObject(part.reasoningContent)) {
    const { reasoningText, redactedContent } = part.reasoningContent;
    if (redactedContent !== undefined) return [{ kind: "thought", text: "", isHidden: true }];
    return [{ kind: "thought", text: asText(object(reasoningText).text ?? reasoningText ?? "") }];
  }
  if (type === "redacted_thinking") return [{ kind: "thought", text: "", isHidden: true }];
  const isThought =
    THOUGHTS.has(type) || part.thought === true || typeof part.thinking === "string";
  if (!isThought) return null;
  const said = [...list(part.summary), ...list(part.content)].map((one) =>
    asText(object(one).text ?? one),
  );
  const text = textOf(part, ["thinking", "text", "content", "reasoning"]) || said.join("\n\n");
  if (text) return [{ kind: "thought", text }];
  const isHidden = first(part.encrypted_content, part.signature) !== undefined;
  return isHidden ? [{ kind: "thought", text, isHidden }] : [];
}

/** Media; of a document whose words are here, these too. */
function readDocument(part, type) {
  const { type: form, data, content, media_type: format } = object(part.source);
  if (type === "document" && (form === "text" || form === "content")) {
    const name = asText(part.title ?? "");
    const media = { ...readAddress("document", ""), name, format: asText(format ?? "") };
    return [media, ...readContent(first(data, content))];
  }
  const media = readMedia(part);
  if (media === null) return null;
  return media.transcript ? [media, { kind: "text", text: media.transcript }] : [media];
}

function readText(part, type) {
  if (type === "web_search_result") return readSources([part]);
  const text = textOf(part, TEXTS);
  if (!text) return TEXTS.some((name) => part[name] === "") ? [] : null;
  const sources = readSources(first(part.citations, part.annotations));
  return [{ kind: type === "refusal" ? "refusal" : "text", text }, ...sources];
}

/** Read what an answer refers to; several citations of a place are one source. */
export function readSources(citations) {
  const sources = new Map();
  for (const citation of list(citations).filter(isObject)) {
    const inner = object(first(citation.url_citation, citation.file_citation, citation.web));
    const one = { ...citation, ...inner };
    const address = textOf(one, ["url", "uri", "file_id"]);
    const title = textOf(one, ["title", "document_title", "filename", "source"]);
    const quote = textOf(one, ["cited_text", "text"]);
    if (address || title || quote)
      sources.set(`${address} ${title} ${quote}`, { title, address, quote });
  }
  return sources.size ? [{ kind: "sources", sources: [...sources.values()] }] : [];
}
