/*
 * Where an event keeps what: legacy and v1, in both readings of the latter.
 *
 * Every value is as its sender made it: whatever its type, a part of an event or nothing.
 * Nothing here touches the document.
 */

import { readAnswer, readResponse } from "./answers.js";
import { readRequest, readSystems } from "./requests.js";
import { asText, first, isEmpty, object, without } from "./values.js";

const CALL = [
  ...["hyperparameters", "tools", "tool_choice", "response_format"],
  ...["template", "template_inputs"],
];
const TOLD_APART = ["messages", "chat_history", "provider", "usage", "cost", "duration", "error"];

/**
 * Read an event into the conversation that it is and the named values beside it.
 *
 * @returns {{messages: import("./shapes/messages.js").Message[],
 *   answer: import("./shapes/messages.js").Message[],
 *   error: string|null, isTool: boolean, sections: [string, any][]}}
 */
export function readEvent(event) {
  const inputs = object(event.inputs);
  const config = object(event.config);
  const pick = (name) => first(event[name], inputs[name], config[name]);
  const error = first(event.error, inputs.error);
  const answered = readAnswered(event);
  const asked = readAsked(event, inputs, answered.messages.length > 0);
  const system = asked.messages.some(({ role }) => role === "system" || role === "developer")
    ? []
    : readSystems([object(pick("hyperparameters")), config]);
  const sections = [
    ["Parameters", object(pick("hyperparameters"))],
    ["Tools", pick("tools")],
    ["Tool choice", pick("tool_choice")],
    ["Response format", pick("response_format")],
    ["Template", pick("template")],
    ["Template inputs", pick("template_inputs")],
    ["Usage", first(event.usage, inputs.usage)],
    ["Inputs", asked.rest],
    ["Outputs", answered.rest],
    ["Config", without(config, CALL)],
    ["Metadata", object(event.metadata)],
    ["User properties", event.user_properties],
    ["Metrics", event.metrics],
    ["Feedback", event.feedback],
  ];
  return {
    messages: asked.messages.length ? [...system, ...asked.messages] : [],
    answer: answered.messages,
    error: error === undefined ? null : asText(error),
    isTool: event.event_type === "tool",
    sections: sections.filter(([, value]) => !isEmpty(value)),
  };
}

function readAnswered(event) {
  if (!isEmpty(event.response))
    return { messages: readAnswer(event.response), rest: event.outputs };
  return (
    readResponse(event.outputs, event.event_type !== "tool") ?? {
      messages: [],
      rest: event.outputs,
    }
  );
}

function readAsked(event, inputs, isAnswered) {
  for (const request of [{ messages: event.messages }, object(event.request)]) {
    const { messages } = readRequest(request, isAnswered);
    if (messages.length) return { messages, rest: without(inputs, [...TOLD_APART, ...CALL]) };
  }
  const { messages, rest } = readRequest(inputs, isAnswered);
  return { messages, rest: messages.length ? without(rest, [...TOLD_APART, ...CALL]) : inputs };
}
