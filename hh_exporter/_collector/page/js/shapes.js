/*
 * Where an event keeps what: legacy and v1, in both readings of the latter.
 *
 * Every value is as its sender made it: whatever its type, a part of an event or nothing.
 * Nothing here touches the document.
 */

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const object = (value) => (isObject(value) ? value : {});

/**
 * A part of a message.
 *
 * @typedef {{kind: "text"|"thought"|"refusal", text: string}
 *   | {kind: "media", label: string}
 *   | {kind: "call", name: string, id: string, input: any}
 *   | {kind: "result", id: string, parts: Part[]}
 *   | {kind: "data", value: any}} Part
 *
 * @typedef {{role: string, name: string, parts: Part[]}} Message
 */

/**
 * Read an event into the conversation that it is and the named values beside it.
 *
 * @returns {{messages: Message[], answer: Message[], error: string|null, sections: [string, any][]}}
 */
export function readEvent(event) {
  const inputs = object(event.inputs);
  const outputs = object(event.outputs);
  const config = object(event.config);
  const metadata = object(event.metadata);
  const asked = [event.messages, inputs.messages, inputs.chat_history].find(Array.isArray);
  const isAnswer = ["role", "content", "tool_calls"].some((key) => key in outputs);
  const answer = first(
    event.response,
    outputs.response,
    outputs.message,
    isAnswer ? outputs : undefined,
  );
  const pick = (name) => first(event[name], inputs[name], config[name]);
  const error = first(event.error, inputs.error);
  const known = [
    "messages",
    "chat_history",
    "provider",
    "usage",
    "cost",
    "duration",
    "error",
    ...CALL,
  ];
  const sections = [
    ["Parameters", object(pick("hyperparameters"))],
    ["Tools", pick("tools")],
    ["Tool choice", pick("tool_choice")],
    ["Response format", pick("response_format")],
    ["Template", pick("template")],
    ["Template inputs", pick("template_inputs")],
    ["Usage", first(event.usage, inputs.usage)],
    ["Inputs", without(inputs, asked === undefined ? [] : known)],
    [
      "Outputs",
      answer === undefined
        ? event.outputs
        : without(outputs, isAnswer ? Object.keys(outputs) : ["response", "message"]),
    ],
    ["Config", without(config, CALL)],
    ["Metadata", metadata],
    ["User properties", event.user_properties],
    ["Metrics", event.metrics],
    ["Feedback", event.feedback],
  ];
  return {
    messages: (asked ?? []).map(readMessage),
    answer: readAnswer(answer),
    error: error === undefined ? null : asText(error),
    sections: sections.filter(([, value]) => !isEmpty(value)),
  };
}

const CALL = [
  "hyperparameters",
  "tools",
  "tool_choice",
  "response_format",
  "template",
  "template_inputs",
];

/** Read one message of whichever provider's form. */
function readMessage(message) {
  if (!isObject(message)) return { role: "unknown", name: "", parts: readContent(message) };
  const role = typeof message.role === "string" && message.role ? message.role : "unknown";
  const parts = [
    ...thoughts(message),
    ...readContent(first(message.content, message.parts, message.text)),
    ...(typeof message.refusal === "string" && message.refusal
      ? [{ kind: "refusal", text: message.refusal }]
      : []),
    ...list(message.tool_calls).map(readCall),
    ...(isObject(message.function_call) ? [readCall(message.function_call)] : []),
  ];
  const isResult = role === "tool" || role === "function";
  const name = asText(message.name ?? "");
  if (isResult)
    return {
      role,
      name,
      parts: [{ kind: "result", id: asText(message.tool_call_id ?? ""), parts }],
    };
  const isOfAnotherForm = parts.length === 0 && !isEmpty(without(message, ["role", "content"]));
  return { role, name, parts: isOfAnotherForm ? [{ kind: "data", value: message }] : parts };
}

function readAnswer(answer) {
  if (isEmpty(answer)) return [];
  if (!isObject(answer)) return [{ role: "assistant", name: "", parts: readContent(answer) }];
  if (Array.isArray(answer.choices) && answer.choices.length) {
    return answer.choices.map((choice) =>
      asAssistant(first(object(choice).message, object(choice).text, choice)),
    );
  }
  if (Array.isArray(answer.candidates) && answer.candidates.length) {
    return answer.candidates.map((candidate) =>
      asAssistant(first(object(candidate).content, candidate)),
    );
  }
  return [asAssistant(answer)];
}

function asAssistant(message) {
  const read = readMessage(message);
  return read.role === "unknown" || read.role === "model" ? { ...read, role: "assistant" } : read;
}

function thoughts(message) {
  const text = first(message.reasoning_content, message.reasoning, message.thinking);
  return typeof text === "string" && text ? [{ kind: "thought", text }] : [];
}

function readContent(content) {
  if (content === undefined || content === null || content === "") return [];
  if (Array.isArray(content)) return content.flatMap(readPart);
  return readPart(content);
}

function readPart(part) {
  if (typeof part === "string") return part ? [{ kind: "text", text: part }] : [];
  if (!isObject(part)) return [{ kind: "data", value: part }];
  const type = typeof part.type === "string" ? part.type : "";
  if (type === "tool_use" || isObject(part.functionCall))
    return [readCall(part.functionCall ?? part)];
  if (type === "tool_result" || isObject(part.functionResponse)) {
    const { content, response, tool_use_id: id, name } = part.functionResponse ?? part;
    return [
      {
        kind: "result",
        id: asText(id ?? name ?? ""),
        parts: readContent(first(content, response)),
      },
    ];
  }
  const media = mediaLabel(part, type);
  if (media) return [{ kind: "media", label: media }];
  const thought = first(part.thinking, type === "reasoning" ? part.text : undefined);
  if (typeof thought === "string") return [{ kind: "thought", text: thought }];
  const text = first(part.text, part.refusal);
  if (typeof text === "string")
    return text ? [{ kind: type === "refusal" ? "refusal" : "text", text }] : [];
  return [{ kind: "data", value: part }];
}

/** Name an image, a sound or a file; it is never loaded. */
function mediaLabel(part, type) {
  const kind = ["image", "audio", "video", "file", "document"].find((name) => type.includes(name));
  const inline = part.inlineData ?? part.inline_data;
  if (!kind && !isObject(inline)) return "";
  const source =
    first(
      part.image_url,
      part.source,
      part.input_audio,
      part.file,
      part.file_data,
      inline,
      part.url,
    ) ?? {};
  const place = asText(
    isObject(source)
      ? (first(source.url, source.filename, source.media_type, source.mimeType, source.format) ??
          "")
      : source,
  );
  const shown = place.startsWith("data:")
    ? place.slice(5, place.search(/[;,]/) + 1 || 40).replace(/[;,]$/, "")
    : place;
  return `${kind ?? "file"}${shown ? `: ${shown.slice(0, 200)}` : ""}`;
}

function readCall(call) {
  const inner = object(object(call).function);
  const { name, id } = object(call);
  const input = first(
    inner.arguments,
    object(call).arguments,
    object(call).input,
    object(call).args,
  );
  return {
    kind: "call",
    name: asText(first(inner.name, name) ?? "tool"),
    id: asText(id ?? ""),
    input,
  };
}

function first(...values) {
  return values.find((value) => value !== undefined && value !== null);
}

function list(value) {
  return Array.isArray(value) ? value : [];
}

function without(value, keys) {
  return Object.fromEntries(Object.entries(value).filter(([key]) => !keys.includes(key)));
}

function isEmpty(value) {
  if (value === undefined || value === null || value === "") return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}

function asText(value) {
  return typeof value === "string" ? value : (JSON.stringify(value) ?? "");
}
