/*
 * What each chart draws, from the collector's series.
 *
 * Plain data: nothing here knows of a canvas or of the document.
 */

import { dollars, duration, short, whole } from "./format.js";

const LEAST = 0.1; // of a logarithmic scale, which has no zero
const of = (name) => (group) => group[name];
const add = (left, right) => left.map((value, at) => value + right[at]);

/**
 * The charts: `lines` of all events, or of one model `perModel`, else the first of these; `total`
 * tells the whole range in words. `isBars` stand on each other; the marks of `isWhole` are integers.
 */
export const CHARTS = [
  {
    key: "events",
    title: "Events",
    isBars: true,
    format: (value) => `${rate(value)}/s`,
    axis: rate,
    lines: [
      {
        label: "events",
        read: (group, step) => group.count.map((value) => (value * 1000) / step),
        series: 0,
      },
    ],
    total: (groups) => whole(total(groups, of("count"))),
  },
  {
    key: "latency",
    title: "Latency",
    isLogarithmic: true, // a timeout must not flatten all others
    format: duration,
    axis: (ms) => (ms < 1000 ? `${ms} ms` : `${short(ms / 1000)} s`),
    lines: [
      { label: "p95", read: of("p95"), series: 0 },
      { label: "p50", read: of("p50"), series: 1 },
    ],
    total: ([group]) => `p50 ${duration(group?.p50[0])} · p95 ${duration(group?.p95[0])}`,
  },
  {
    key: "tokens",
    title: "Tokens",
    isBars: true,
    isWhole: true,
    format: short,
    axis: short,
    lines: [
      { label: "out", read: of("tokens_out"), series: 1 },
      { label: "in", read: of("tokens_in"), series: 0 },
    ],
    perModel: (group) => add(group.tokens_in, group.tokens_out),
    total: (groups) =>
      `${short(total(groups, of("tokens_in")))} in · ${short(total(groups, of("tokens_out")))} out`,
  },
  {
    key: "cost",
    title: "Cost",
    isBars: true,
    format: dollars,
    axis: dollars,
    lines: [{ label: "cost", read: of("cost"), series: 0 }],
    total: (groups) => dollars(total(groups, of("cost"))),
  },
  {
    key: "errors",
    title: "Errors",
    isBars: true,
    isWhole: true,
    format: whole,
    axis: whole,
    lines: [{ label: "errors", read: of("errors"), series: "error" }],
    total: (groups) => whole(total(groups, of("errors"))),
  },
];

/** The lines that a chart draws: labels, series of the palette, values. */
export function linesOf(chart, { groups, step }, isByModel) {
  if (!isByModel) {
    const [group] = groups;
    return chart.lines.map(({ label, read, series }) => ({
      label,
      series,
      values: group ? read(group, step) : [],
    }));
  }
  const read = chart.perModel ?? chart.lines[0].read;
  return groups.map((group, at) => ({
    label: nameOf(group),
    series: seriesOf(group, at),
    values: read(group, step),
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

function rate(value) {
  if (value > 0 && value < 0.1) return String(Number(value.toPrecision(2)));
  return short(value >= 10 ? Math.round(value) : value);
}

function total(groups, read) {
  return groups.reduce(
    (sum, group) => sum + read(group).reduce((part, value) => part + value, 0),
    0,
  );
}
