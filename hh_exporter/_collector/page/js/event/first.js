/*
 * What one sees first of an event: the conversation that it is, or what went in and came out.
 *
 * A side that has no messages is shown as its values.
 */

import { make } from "../common/dom.js";
import { makeConversation } from "../content/conversation.js";
import { makeReading, makeReturned, makeSwitch } from "../content/reading.js";
import { makeValue } from "../content/values.js";
import { makeSections } from "./sections.js";

/** @param {ReturnType<import("./shapes.js").readEvent>} read */
export function makeFirst(read) {
  const body = make("div", { class: "first" });
  const draw = () => body.replaceChildren(...makeParts(read));
  draw();
  return make("div", { class: "reading" }, makeSwitch(draw), body);
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
