/*
 * Items of OpenAI Responses: calls, results and reasoning that stand between messages.
 *
 * Nothing here touches the document.
 */

import { readMedia } from "./media.js";
import { readContent } from "./parts.js";
import { asText, first, isObject, list, object, without } from "./values.js";

const ENDINGS = /_(?:call|call_output|list_tools|approval_request|approval_response)$/;
const OWN = new Set(["reasoning", "item_reference", "compaction"]);
const ENVELOPE = ["id", "type", "status", "call_id"];

/** Whether a value is an item that is no message. */
export function isItem(value) {
  if (!isObject(value) || value.role !== undefined || typeof value.type !== "string") return false;
  return ENDINGS.test(value.type) || OWN.has(value.type);
}

/** @returns {{role: string, parts: import("./parts.js").Part[]}} */
export function readItem(item) {
  const { type } = item;
  if (type.endsWith("_output")) return { role: "tool", parts: [readOutput(item)] };
  if (type === "reasoning") return { role: "assistant", parts: readContent(item) };
  if (type === "image_generation_call") {
    const image = readMedia({ ...item, type: "image" });
    return { role: "assistant", parts: [image] };
  }
  if (type.endsWith("_call")) return { role: "assistant", parts: readItemCall(item) };
  return { role: "assistant", parts: [{ kind: "data", value: item }] };
}

function readOutput({ call_id: id, output, status }) {
  const shown = isObject(output) && typeof output.type === "string" ? [output] : output;
  const isError = status === "failed" || status === "incomplete";
  return { kind: "result", name: "", id: asText(id ?? ""), isError, parts: readContent(shown) };
}

/** A call, and what came of it where the provider made it itself. */
function readItemCall(item) {
  const id = asText(first(item.call_id, item.id) ?? "");
  const name = asText(first(item.name, item.type.replace(/_call$/, "")));
  const inputs = ["arguments", "input", "action", "queries", "code"];
  const call = { kind: "call", name, id, input: first(...inputs.map((key) => item[key])) };
  const came = without(item, [...ENVELOPE, ...inputs, "name", "server_label", "namespace"]);
  const output = first(item.output, item.outputs, item.results);
  const failed = first(item.error);
  if (output === undefined && failed === undefined) return [call];
  const parts = list(output).some((one) => object(one).type === "logs")
    ? list(output).flatMap((one) => readContent(object(one).logs ?? one))
    : readContent(first(output, failed, came));
  return [call, { kind: "result", name, id, isError: failed !== undefined, parts }];
}
