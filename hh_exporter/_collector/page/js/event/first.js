/*
 * What one sees first of an event: the conversation that it is, or what went in and came out.
 *
 * A side that has no messages is shown as its values. What says nothing by itself, as a session
 * often does, leads to the tree it is in.
 */

import { make, makeButton } from "../common/dom.js";
import { makeConversation } from "../content/conversation.js";
import { makeReading, makeReturned, makeSwitch } from "../content/reading.js";
import { makeValue } from "../content/values.js";
import { makeSections } from "./sections.js";

/**
 * @param {ReturnType<import("./shapes.js").readEvent>} read
 * @param {() => void} showSession
 */
export function makeFirst(read, showSession) {
  if (isSilent(read)) return makeSilence(showSession);
  const body = make("div", { class: "first" });
  const draw = () => body.replaceChildren(...makeParts(read));
  draw();
  return make("div", { class: "reading" }, makeSwitch(draw), body);
}

function isSilent({ messages, answer, error, sections }) {
  const isSide = ([title]) => title === "Inputs" || title === "Outputs";
  return messages.length + answer.length === 0 && error === null && !sections.some(isSide);
}

function makeSilence(showSession) {
  const what = make("p", { class: "nothing" }, "No messages, inputs or outputs in this event.");
  return make("div", {}, what, makeButton("Show its session", showSession));
}

function makeParts(read) {
  const { messages, answer, error, isTool } = read;
  const say = isTool ? makeReturned : makeReading;
  const values = (wanted, isSaid) =>
    read.sections
      .filter(([title]) => title === wanted && !isSaid)
      .map(([title, value]) => makeSections([title, makeValue(value, say)]));
  const inputs = values("Inputs", messages.length > 0);
  const outputs = values("Outputs", answer.length > 0);
  const isConversation = messages.length > 0 || answer.length > 0;
  if (!isConversation && error === null && inputs.length + outputs.length > 0)
    return [...inputs, ...outputs];
  const conversation = makeConversation(read);
  // An error alone is read before what led to it.
  return isConversation
    ? [...inputs, conversation, ...outputs]
    : [conversation, ...inputs, ...outputs];
}
