/*
 * A session as a timeline: each event a bar from its start to its end.
 *
 * The bars share one scale, from the first start to the last end of what is shown.
 */

import { readJson } from "./api.js";
import { make, makeButton } from "./dom.js";
import { count, dollars, duration, fullTime, isError, whole } from "./format.js";
import { makeJson } from "./json.js";
import { appendItems } from "./slices.js";

/**
 * Read a session and show it.
 *
 * @param {string} id
 * @param {number} openId the row that is open
 * @param {{open: (id: number) => void, only: () => void}} actions
 */
export async function makeSession(id, openId, { open, only }, signal) {
  const session = await readJson(`/api/sessions/${encodeURIComponent(id)}`, {}, { signal });
  const { events, properties } = session;
  const body = make("div", { class: "session" });
  const timeline = make("ol", { class: "timeline", "aria-label": "Events of this session" });
  const scale = scaleOf(events);
  appendItems(timeline, events, (event) => makeBar(event, scale, openId, open), "event", 200);
  body.append(
    makeSummary(events, session.next !== null, scale, only),
    make("code", { class: "session-id", dir: "auto" }, id),
    timeline,
  );
  if (session.next !== null)
    body.append(
      make("p", { class: "nothing" }, "The first thousand events of it; the list shows all."),
    );
  if (Object.keys(properties ?? {}).length)
    body.append(make("h3", { class: "section-title" }, "Properties"), makeJson(properties));
  return body;
}

function makeSummary(events, isMore, { from, to }, only) {
  const parts = events.filter((event) => event.type !== "session"); // which has the sums of these
  const sum = (name) => parts.reduce((total, event) => total + (event[name] ?? 0), 0);
  const errors = events.filter(isError).length;
  const tokens = sum("tokens_in") + sum("tokens_out");
  const cost = sum("cost");
  return make(
    "p",
    { class: "session-summary" },
    make("b", {}, `${count(events.length, "event")}${isMore ? "+" : ""}`),
    make("span", {}, duration(to - from)),
    tokens ? make("span", {}, count(tokens, "token")) : null,
    cost ? make("span", {}, dollars(cost)) : null,
    errors ? make("span", { class: "bad" }, count(errors, "error")) : null,
    makeButton("Only this session", only),
  );
}

function scaleOf(events) {
  let from = Infinity;
  let to = -Infinity;
  for (const { start, duration: length } of events) {
    from = Math.min(from, start);
    to = Math.max(to, start + Math.max(0, length ?? 0));
  }
  return events.length ? { from, to } : { from: 0, to: 0 };
}

function makeBar(event, { from, to }, openId, open) {
  const span = Math.max(1, to - from);
  const bar = make("i", { class: "bar" });
  bar.style.left = `min(${(100 * (event.start - from)) / span}%, 100% - 3px)`;
  bar.style.width = `${(100 * Math.max(0, event.duration ?? 0)) / span}%`;
  const label = make(
    "span",
    { class: "bar-name", dir: "auto" },
    event.name || event.model || event.type,
  );
  const button = makeButton("", () => open(event.id), {
    class: isError(event) ? "bar-row is-error" : "bar-row",
    "aria-current": event.id === openId ? "true" : null,
    title: [event.name, event.model, event.error, fullTime(event.start)].filter(Boolean).join("\n"),
  });
  const offset = event.start - from;
  button.append(
    label,
    make("span", { class: "bar-track" }, bar),
    make("span", { class: "bar-time" }, duration(event.duration)),
    make("span", { class: "visually-hidden" }, `starts at ${whole(Math.round(offset))} ms`),
  );
  return make("li", {}, button);
}
