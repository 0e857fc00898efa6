/*
 * One chart on its canvas.
 *
 * New values are put into the same canvas; only other lines, or other colours, make it anew.
 */

import uPlot from "../../vendor/uplot/uPlot.esm.js";
import { make } from "../common/dom.js";
import { clock } from "../common/format.js";
import { colour } from "../common/theme.js";
import {
  powers,
  roomOf,
  TIME_STEPS,
  timeMarks,
  VALUE_STEPS,
  valueMarks,
  WHOLE_STEPS,
} from "./axis.js";
import { drawnOf, figuresAt, inWords, toldOf } from "./series.js";
import { hideTip, makeSwatch, say, showTip } from "./tip.js";

const FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
const HEIGHT = 104;
const WIDTH = 6.2; // of a letter in a mark
const LINEAR = { range: (_, __, most) => [0, most > 0 ? most * 1.08 : 1] };
const LOGARITHMIC = { distr: 3, range: (_, from, to) => (to > 0 ? tens(from, to) : [1, 1000]) };
const cursors = uPlot.sync("charts");

export class Chart {
  element;
  place = make("div", { class: "chart-place", role: "img", tabindex: -1 });

  #description;
  #onZoom;
  #plot = null;
  #signature = "";
  #figure = make("span", { class: "chart-figure" });
  #lines = [];
  #times = [];
  #range = { since: 0, until: 1, sums: [], isByModel: false };
  #isLed = false; // by keys, not by a pointer

  /** @param {(since: number, until: number) => void} onZoom */
  constructor(description, onZoom) {
    this.#description = description;
    this.#onZoom = onZoom;
    this.element = make(
      "figure",
      { class: "chart", "data-chart": description.key },
      make("figcaption", {}, make("span", {}, description.title), this.#figure),
      this.place,
    );
    this.place.addEventListener("mouseleave", hideTip);
    new ResizeObserver(() => this.#resize()).observe(this.place);
  }

  /** Draw these values; the sum of each line in `range` is told while nobody points anywhere. */
  show(times, lines, range) {
    this.#times = times;
    this.#lines = lines;
    this.#range = range;
    this.place.setAttribute("aria-label", inWords(this.#description, times, lines, range));
    const signature = JSON.stringify(lines.map(({ label, series }) => [label, series]));
    const data = this.#data();
    if (this.#plot === null || signature !== this.#signature) {
      this.#signature = signature;
      this.#make(data);
    } else {
      this.#plot.setData(data, false);
      this.#plot.setScale("x", { min: range.since, max: range.until });
    }
    this.#showFigures(this.#plot?.cursor.idx);
  }

  get size() {
    return this.#times.length;
  }

  /** Point at a bucket, as a pointer does, in all charts; null for none. */
  pointAt(at) {
    this.#isLed = at !== null;
    const left = at === null ? -10 : (this.#plot?.valToPos(this.#times[at], "x") ?? -10);
    this.#plot?.setCursor({ left, top: at === null ? -10 : 0 });
    if (at === null) hideTip();
  }

  /** Show only the buckets from one to another. */
  zoomTo(from, to) {
    this.#onZoom(this.#times[from], this.#times[to + 1] ?? this.#range.until);
  }

  /** Mark the buckets from one to another. */
  mark(from, to) {
    if (this.#plot === null) return;
    const left = this.#plot.valToPos(this.#times[from], "x");
    const right = this.#plot.valToPos(this.#times[to + 1] ?? this.#range.until, "x");
    const width = from > to ? 0 : right - left;
    this.#plot.setSelect({ left, width, top: 0, height: this.#plot.over.clientHeight }, false);
  }

  /** Draw it anew, in the colours that hold now. */
  recolour() {
    if (this.#plot !== null) this.#make(this.#plot.data);
  }

  get #isEmpty() {
    return !this.#lines.some(({ values }) => values.some(Boolean));
  }

  #data() {
    return [this.#times, ...drawnOf(this.#description, this.#lines)];
  }

  #make(data) {
    this.#plot?.destroy();
    this.#plot = null;
    const width = this.place.clientWidth;
    if (width === 0) return; // not shown; resized once it is
    const plot = new uPlot(this.#options(width), data, this.place);
    this.#plot = plot;
  }

  #resize() {
    const width = this.place.clientWidth;
    if (width === 0) return;
    if (this.#plot === null) {
      if (this.#lines.length) this.#make(this.#data());
    } else if (this.#plot.width !== width) {
      this.#plot.setSize({ width, height: HEIGHT });
    }
  }

  #options(width) {
    const grid = { stroke: colour("--line"), width: 1 };
    const axis = { stroke: colour("--faint"), font: FONT, grid, ticks: { show: false } };
    return {
      width,
      height: HEIGHT,
      ms: 1,
      padding: [6, 18, 0, 0],
      legend: { show: false },
      cursor: {
        sync: { key: "charts", setSeries: false },
        drag: { x: true, y: false, setScale: false },
        points: { size: 6, show: !this.#description.isBars },
        y: false,
      },
      scales: {
        x: { time: true, range: () => [this.#range.since, this.#range.until] },
        y: this.#description.isLogarithmic ? LOGARITHMIC : LINEAR,
      },
      axes: [
        {
          ...axis,
          size: 22,
          gap: 4,
          space: (_, __, from, to) => roomOf(to - from),
          incrs: TIME_STEPS,
          grid: { show: false },
          values: (_, ticks, __, ___, step) => timeMarks(ticks, step),
        },
        {
          ...axis,
          size: (_, marks) => widthOf(marks ?? []),
          gap: 5,
          space: 26,
          incrs: this.#description.isWhole ? WHOLE_STEPS : VALUE_STEPS,
          ...(this.#description.isLogarithmic
            ? { splits: (_, __, from, to) => powers(from, to), filter: (_, ticks) => ticks }
            : {}),
          values: (_, ticks) =>
            valueMarks(ticks, (tick) =>
              tick === 0 || !this.#isEmpty ? this.#description.mark(tick) : "",
            ),
        },
      ],
      series: [{}, ...this.#lines.map((line) => this.#series(line))],
      hooks: {
        setCursor: [(plot) => this.#point(plot)],
        setSelect: [(plot) => this.#select(plot)],
      },
    };
  }

  #series({ label, series, isDashed }) {
    const stroke = colour(series === "error" ? "--error" : `--series-${series}`);
    const { isBars } = this.#description;
    return {
      label,
      stroke,
      width: isBars ? 0 : 1.5,
      dash: isDashed ? [5, 3] : undefined,
      fill: isBars ? stroke : null,
      paths: isBars
        ? uPlot.paths.bars({ size: [0.8, 24, 1], align: 1 })
        : uPlot.paths.linear({ alignGaps: 0 }),
      spanGaps: true,
      points: {
        show: !isBars && ((plot, at) => isAlone(plot.data[at])),
        size: 5,
        fill: stroke,
        width: 0,
      },
    };
  }

  #point(plot) {
    const { idx, left, top } = plot.cursor;
    this.#showFigures(idx);
    const isHovered = plot.over.matches(":hover");
    if (!isHovered && !this.#isLed) return; // another chart leads the cursor
    const isAt = idx !== null && idx !== undefined && left >= 0;
    if (!isAt) {
      hideTip();
      return;
    }
    const values = this.#lines.map((line) => ({ ...line, value: line.values[idx] }));
    const place = plot.over.getBoundingClientRect();
    const when = clock(this.#times[idx]);
    showTip(when, values, this.#description.format, {
      x: place.left + left,
      y: place.top + Math.min(top, place.height / 2),
    });
    if (this.#isLed) say(`${when}, ${this.#description.title}`, values, this.#description.format);
  }

  /** Beside the title: each line with its colour, its name if there are two, and its figure. */
  #showFigures(idx) {
    const isAt = idx !== null && idx !== undefined && !this.#range.isByModel;
    const figures = isAt ? figuresAt(this.#description, this.#lines, idx) : this.#range.sums;
    const isOne = this.#description.lines.length === 1;
    const entries = toldOf(this.#description, this.#range.isByModel).map(
      ({ label, series, isDashed }, at) =>
        make(
          "span",
          { class: "chart-entry" },
          isOne || this.#range.isByModel ? null : makeSwatch(series, isDashed),
          isOne ? null : `${label} `,
          make("b", {}, figures[at]),
        ),
    );
    this.#figure.replaceChildren(...entries.reverse());
  }

  #select(plot) {
    const { left, width } = plot.select;
    if (width < 4) return;
    const since = plot.posToVal(left, "x");
    const until = plot.posToVal(left + width, "x");
    for (const other of cursors.plots) {
      other.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    }
    this.#onZoom(Math.floor(since), Math.ceil(until));
  }
}

/** The room that the marks of values take beside a chart. */
function widthOf(marks) {
  return Math.max(36, ...marks.map(({ length }) => 10 + length * WIDTH));
}

/** A range that ends at powers of ten. */
function tens(from, to) {
  return [10 ** Math.floor(Math.log10(from)), 10 ** Math.ceil(Math.log10(to * 1.001))];
}

/** Whether there is one value only, which no line would show. */
function isAlone(values) {
  return values.reduce((found, value) => found + (value !== null), 0) === 1;
}
