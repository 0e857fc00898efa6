/*
 * The head of the open event: its name, and its figures.
 *
 * A figure that nobody sent keeps its place, so that the eye finds the others where they always are.
 */

import { copy } from "../common/clipboard.js";
import { make, makeButton } from "../common/dom.js";
import { dollars, duration, fullTime, NONE, shortId, shortTime, whole } from "../common/format.js";
import { makeKind } from "../common/icons.js";

/** The bar with the title; `onClose` is called by its button. */
export function makeBar(title, type, onClose) {
  return make(
    "header",
    { class: "detail-bar" },
    type === null ? null : make("span", { class: "type" }, makeKind(type), type),
    make("h2", { dir: "auto", title }, title),
    makeButton("Copy link", () => copy(location.href), { class: "quiet" }),
    makeButton("×", onClose, {
      class: "quiet close",
      "aria-label": "Close (Esc)",
      title: "Close (Esc)",
    }),
  );
}

/** The figures of a summary. */
export function makeFacts(summary) {
  const { tokens_in: asked, tokens_out: answered, session_id: session } = summary;
  const isSilent = asked === null && answered === null;
  const tokens = isSilent ? null : `${whole(asked)} → ${whole(answered)}`;
  const facts = [
    ["Model", summary.model],
    ["Latency", duration(summary.duration)],
    ["First token", duration(summary.time_to_first_token), "Time to the first token"],
    ["Tokens", tokens, isSilent ? null : `${whole(asked)} in, ${whole(answered)} out`],
    ["Cost", dollars(summary.cost)],
    ["Provider", summary.provider],
    ["Started", shortTime(summary.start), `${fullTime(summary.start)}; arrived ${fullTime(summary.time)}`],
    ["User", summary.user],
    ["Session", summary.session_name || shortId(session), [summary.session_name, session].filter(Boolean).join("\n")],
    ["Source", summary.source],
  ];
  const cells = facts.map(([name, value, title]) =>
    make(
      "div",
      { class: !value || value === NONE ? "is-none" : null },
      make("dt", {}, name),
      make("dd", { dir: "auto", title: title ?? value }, value || NONE),
    ),
  );
  return make("dl", { class: "facts" }, ...cells);
}
