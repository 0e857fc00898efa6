/*
 * What each chart draws, from the collector's series.
 *
 * Plain data: nothing here knows of a canvas or of the document.
 */

import { dollars, duration, fullTime, NONE, short, whole } from "../common/format.js";
import { exact } from "./axis.js";

const LEAST = 0.1; // of a logarithmic scale, which has no zero
const of = (name) => (group) => group[name];
const add = (left, right) => left.map((value, at) => value + right[at]);

/**
 * The charts: `lines` of all events, or of one model `perModel`, else the first of these; `sums`
 * tells each line over the whole range, of totals. `isBars` stand on each other; the marks of
 * `isWhole` are integers; `mark` writes one of the axis.
 */
export const CHARTS = [
  {
    key: "events",
    title: "Events",
    isBars: true,
    isWhole: true,
    format: whole,
    mark: exact,
    lines: [{ label: "events", read: of("count"), series: 0 }],
    sums: ({ events }) => [whole(events)],
  },
  {
    key: "latency",
    title: "Latency",
    isLogarithmic: true, // a timeout must not flatten all others
    format: duration,
    mark: (ms) => (ms < 1000 ? `${exact(ms)} ms` : `${exact(ms / 1000)} s`),
    lines: [
      { label: "p95", read: of("p95"), series: 0 },
      { label: "p50", read: of("p50"), series: 1, isDashed: true },
    ],
    sums: ({ p95, p50 }) => [duration(p95), duration(p50)],
  },
  {
    key: "tokens",
    title: "Tokens",
    isBars: true,
    isWhole: true,
    format: short,
    mark: exact,
    lines: [
      { label: "out", read: of("tokens_out"), series: 1 },
      { label: "in", read: of("tokens_in"), series: 0 },
    ],
    perModel: (group) => add(group.tokens_in, group.tokens_out),
    sums: ({ tokens_in: asked, tokens_out: answered }) => [short(answered), short(asked)],
  },
  {
    key: "cost",
    title: "Cost",
    isBars: true,
    format: dollars,
    mark: (value) => `$${exact(value)}`,
    lines: [{ label: "cost", read: of("cost"), series: 0 }],
    sums: ({ cost }) => [dollars(cost)],
  },
  {
    key: "errors",
    title: "Errors",
    isBars: true,
    isWhole: true,
    format: whole,
    mark: exact,
    lines: [{ label: "errors", read: of("errors"), series: "error" }],
    sums: ({ errors }) => [whole(errors)],
  },
];

/** The lines that a chart draws: labels, series of the palette, values. */
export function linesOf(chart, { groups }, isByModel) {
  if (!isByModel) {
    const [group] = groups;
    return chart.lines.map(({ read, ...line }) => ({
      ...line,
      values: group ? read(group) : [],
    }));
  }
  const read = chart.perModel ?? chart.lines[0].read;
  return groups.map((group, at) => ({
    label: nameOf(group),
    series: seriesOf(group, at),
    values: read(group),
  }));
}

/** The values of lines as a chart draws them: bars stand on each other, the lowest drawn last. */
export function drawnOf(chart, lines) {
  const values = lines.map((line) => line.values);
  if (chart.isLogarithmic) {
    const shift = (value) => (value === null ? null : Math.max(value, LEAST));
    return values.map((line) => line.map(shift));
  }
  if (!chart.isBars) return values;
  for (let at = values.length - 2; at >= 0; at -= 1) {
    values[at] = values[at].map((value, bucket) => value + values[at + 1][bucket]);
  }
  return values;
}

/** A chart in words: what it adds up to, and where each line is highest. */
export function inWords(chart, times, lines, { since, until, sums, isByModel }) {
  const told = toldOf(chart, isByModel).map(({ label }, at) =>
    chart.lines.length > 1 ? `${label} ${sums[at]}` : sums[at],
  );
  const tops = lines.map((line) => topOf(line, times, chart.format)).filter(Boolean);
  const range = `from ${fullTime(since)} to ${fullTime(until)}`;
  const title = isByModel ? `${chart.title} by model` : chart.title;
  return `${title} ${range}: ${told.reverse().join(", ")}. ${
    tops.length ? `Highest: ${tops.join("; ")}.` : "No values."
  }`;
}

function topOf({ label, values }, times, format) {
  const top = values.reduce((most, value) => Math.max(most, value ?? 0), 0);
  return top > 0 ? `${label} ${format(top)} at ${fullTime(times[values.indexOf(top)])}` : "";
}

/** The lines whose figures stand beside the title: the one that is drawn of each model, or all. */
export function toldOf({ lines, isBars }, isByModel) {
  return isByModel && !isBars ? lines.slice(0, 1) : lines;
}

/** What each line has in one bucket. */
export function figuresAt(chart, lines, at) {
  return lines.map(({ values }) => (at in values ? chart.format(values[at]) : NONE));
}

/** How a group is called. */
export function nameOf(group) {
  return group.name === null ? "no model" : group.name;
}

/** Which colour of the palette it has. */
export function seriesOf(group, at) {
  return group.name === "other" ? 8 : at % 8;
}

/** A bucket's length, in milliseconds: about `buckets` of them, of a round length. */
export function stepFor(span, buckets) {
  const least = Math.max(1000, span / buckets);
  return STEPS.find((step) => step >= least) ?? Math.ceil(least / DAY) * DAY;
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [1, 2, 5, 10, 15, 30]
  .flatMap((n) => [n * SECOND, n * MINUTE])
  .concat(
    [1, 2, 3, 6, 12].map((n) => n * HOUR),
    DAY,
  )
  .sort((a, b) => a - b);
