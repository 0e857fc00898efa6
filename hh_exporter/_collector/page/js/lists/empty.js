/*
 * What stands where the list would be while there is nothing to list.
 */

import { rangeWith } from "../ask/range.js";
import { makeCopyButton } from "../common/clipboard.js";
import { make, makeButton } from "../common/dom.js";
import { count, fullTime } from "../common/format.js";

/** The lines of Python that make the first event appear here. */
function firstEvent(address, hasKey) {
  return `import asyncio

from hh_exporter import Exporter, ModelEvent


async def main() -> None:
    async with Exporter(${hasKey ? '"the collector\'s key", ' : ""}base_url="${address}") as exporter:
        exporter.push(
            ModelEvent(
                model="gpt-4o",
                provider="openai",
                event_name="hello",
                messages=[{"role": "user", "content": "Hello, is anybody there?"}],
                response={"role": "assistant", "content": "Loud and clear."},
                duration=420,
            )
        )


asyncio.run(main())
`;
}

/** Nothing was ever collected: show how to begin. */
export function makeWelcome(hasKey) {
  const code = firstEvent(location.origin, hasKey);
  const snippet = make(
    "div",
    { class: "snippet" },
    make("pre", { id: "first-event", translate: "no" }, make("code", {}, code)),
  );
  snippet.append(makeCopyButton("Copy", () => code));
  const variable = make("code", {}, `HH_API_URL=${location.origin}`);
  return make(
    "div",
    { class: "empty", id: "welcome" },
    make("h2", {}, "Listening. No event has arrived yet."),
    make("p", {}, "Run this, and the event appears here while you watch:"),
    snippet,
    make(
      "p",
      {},
      "Your app already uses hh_exporter, or one of HoneyHive's own clients? Start it with ",
      variable,
      ".",
    ),
  );
}

/**
 * There are events, but the filters leave none.
 *
 * @param {string} problem why they can't be asked for, or ""
 * @param {{events: number, newest: number}|null} elsewhere what they leave of all times
 * @param {import("./address.js").Address} address
 * @param {() => void} clear
 */
export function makeNoMatch(problem, elsewhere, address, clear) {
  const isElsewhere = !problem && Boolean(elsewhere?.events);
  const title = problem ? "These filters can't be used." : "No event matches.";
  return make(
    "div",
    { class: "empty", id: "no-match" },
    make("h2", {}, isElsewhere ? "No event in this range." : title),
    ...(isElsewhere
      ? makeElsewhere(elsewhere, address)
      : [make("p", {}, problem || "New events that match will appear here by themselves.")]),
    makeButton("Clear all filters", clear, { class: isElsewhere ? "quiet" : null }),
  );
}

/** Say when the newest event arrived that the range leaves out, and offer the range that has it. */
function makeElsewhere({ events, newest }, address) {
  const [range, label] = rangeWith(newest, Date.now());
  const matching = `${count(events, "event")} ${events === 1 ? "matches" : "match"} at other times`;
  return [
    make("p", { id: "elsewhere" }, `${matching}; the newest arrived on ${fullTime(newest)}.`),
    makeButton(`Show ${label.toLowerCase()}`, () => address.setRange(range), { id: "show-range" }),
  ];
}
