/*
 * What a branch of a tree adds up to: events, errors, tokens and cost.
 *
 * Nothing counts twice. Of what an event says and what is below it, the larger counts: tracers
 * give an agent the tokens of its calls, and a call that two of them saw is within itself. Only
 * below a call of a model, what is no call itself comes on top: it is not what the model read. An
 * event of type session says nothing of its own, and one that was sent again counts once.
 */

import { isError } from "../common/format.js";

/** The figures that are summed up, as the summaries call them; null where nobody says any. */
const SUMMED = ["tokens_in", "tokens_out", "cost"];

/** Give each of these nodes its `sum` {events, errors, tokens_in, tokens_out, cost}; parents first. */
export function addUp(nodes) {
  for (const node of nodes.toReversed()) node.sum = sumOf(node);
}

/** What several branches have together. */
export function total(nodes) {
  const sums = nodes.map(({ sum }) => sum);
  const all = {
    events: sums.reduce((events, sum) => events + sum.events, 0),
    errors: sums.reduce((errors, sum) => errors + sum.errors, 0),
  };
  for (const name of SUMMED) all[name] = sums.map((sum) => sum[name]).reduce(plus, null);
  return all;
}

function sumOf({ event, children, isRepeated }) {
  const below = total(children);
  const sum = {
    events: below.events + 1,
    errors: below.errors + (!isRepeated && isError(event) ? 1 : 0),
  };
  const isSilent = isRepeated || event.type === "session";
  const isCall = ({ event: { type } }) => type === "model";
  const isMixed = isCall({ event }) && children.length > 0;
  for (const name of SUMMED) {
    const own = isSilent ? null : (event[name] ?? null);
    if (isMixed) {
      const calls = total(children.filter(isCall))[name];
      const others = total(children.filter((child) => !isCall(child)))[name];
      sum[name] = plus(larger(own, calls), others);
    } else sum[name] = larger(own, below[name]);
  }
  return sum;
}

const plus = (one, other) => (one === null ? other : other === null ? one : one + other);
const larger = (one, other) =>
  one === null ? other : other === null ? one : Math.max(one, other);
