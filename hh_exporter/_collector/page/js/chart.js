/*
 * One chart on its canvas.
 *
 * New values are put into the same canvas; only other lines, or other colours, make it anew.
 */

import uPlot from "../vendor/uplot/uPlot.esm.js";
import { make } from "./dom.js";
import { clock, timeMark } from "./format.js";
import { drawnOf } from "./series.js";
import { colour } from "./theme.js";
import { hideTip, showTip } from "./tip.js";

const FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
const HEIGHT = 104;
const WHOLE_STEPS = [1, 2, 5]
  .flatMap((n) => Array.from({ length: 18 }, (_, power) => n * 10 ** power))
  .sort((a, b) => a - b);
const LINEAR = { range: (_, __, most) => [0, most > 0 ? most * 1.08 : 1] };
const LOGARITHMIC = { distr: 3, range: (_, from, to) => (to > 0 ? tens(from, to) : [1, 1000]) };
const cursors = uPlot.sync("charts");

export class Chart {
  element;

  #description;
  #onZoom;
  #plot = null;
  #signature = "";
  #figure = make("b", { class: "chart-figure" });
  #place = make("div", { class: "chart-place" });
  #lines = [];
  #times = [];
  #range = [0, 1];
  #total = "";

  /** @param {(since: number, until: number) => void} onZoom */
  constructor(description, onZoom) {
    this.#description = description;
    this.#onZoom = onZoom;
    const heading = make("figcaption", {}, make("span", {}, description.title), this.#figure);
    this.element = make(
      "figure",
      { class: "chart", "data-chart": description.key },
      heading,
      this.#place,
    );
    this.#place.addEventListener("mouseleave", hideTip);
    new ResizeObserver(() => this.#resize()).observe(this.#place);
  }

  /** Draw these values; `total` is said while nobody points anywhere. */
  show(times, lines, { since, until, total }) {
    this.#times = times;
    this.#lines = lines;
    this.#range = [since, until];
    this.#total = total;
    const signature = JSON.stringify(lines.map(({ label, series }) => [label, series]));
    const data = this.#data();
    if (this.#plot === null || signature !== this.#signature) {
      this.#signature = signature;
      this.#make(data);
    } else {
      this.#plot.setData(data, false);
      this.#plot.setScale("x", { min: since, max: until });
    }
    this.#showFigure(this.#plot?.cursor.idx);
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
    const width = this.#place.clientWidth;
    if (width === 0) return; // not shown; resized once it is
    const plot = new uPlot(this.#options(width), data, this.#place);
    this.#plot = plot;
  }

  #resize() {
    const width = this.#place.clientWidth;
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
        x: { time: true, range: () => this.#range },
        y: this.#description.isLogarithmic ? LOGARITHMIC : LINEAR,
      },
      axes: [
        {
          ...axis,
          size: 22,
          gap: 4,
          space: 60,
          grid: { show: false },
          values: (_, ticks, __, ___, step) => ticks.map((tick) => timeMark(tick, step)),
        },
        {
          ...axis,
          size: 50,
          gap: 5,
          space: 26,
          incrs: this.#description.isWhole ? WHOLE_STEPS : undefined,
          ...(this.#description.isLogarithmic
            ? { splits: powers, filter: (_, ticks) => ticks }
            : {}),
          values: (_, ticks) =>
            ticks.map((tick) =>
              tick === 0 || (tick && !this.#isEmpty) ? this.#description.axis(tick) : "",
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

  #series({ label, series }) {
    const stroke = colour(series === "error" ? "--error" : `--series-${series}`);
    const { isBars } = this.#description;
    return {
      label,
      stroke,
      width: isBars ? 0 : 1.5,
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
    this.#showFigure(idx);
    if (!plot.over.matches(":hover")) return; // another chart leads the cursor
    const isAt = idx !== null && idx !== undefined && left >= 0;
    if (!isAt) {
      hideTip();
      return;
    }
    const values = this.#lines.map((line) => ({ ...line, value: line.values[idx] }));
    const place = plot.over.getBoundingClientRect();
    showTip(clock(this.#times[idx]), values, this.#description.format, {
      x: place.left + left,
      y: place.top + Math.min(top, place.height / 2),
    });
  }

  #showFigure(idx) {
    const isAt = idx !== null && idx !== undefined;
    const said = isAt && this.#lines.length <= 2 ? this.#figureAt(idx) : this.#total;
    if (this.#figure.textContent !== said) this.#figure.textContent = said;
  }

  #figureAt(idx) {
    const format = this.#description.format;
    if (this.#lines.length === 1) return format(this.#lines[0].values[idx]);
    return this.#lines.map(({ label, values }) => `${label} ${format(values[idx])}`).join(" · ");
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

/** The powers of ten on a logarithmic scale. */
function powers(plot, axis, from, to) {
  const [first, last] = [Math.round(Math.log10(from)), Math.round(Math.log10(to))];
  const step = Math.max(1, Math.ceil((last - first) / 4));
  return Array.from(
    { length: Math.floor((last - first) / step) + 1 },
    (_, at) => 10 ** (first + at * step),
  );
}

/** A range that ends at powers of ten. */
function tens(from, to) {
  return [10 ** Math.floor(Math.log10(from)), 10 ** Math.ceil(Math.log10(to * 1.001))];
}

/** Whether there is one value only, which no line would show. */
function isAlone(values) {
  return values.reduce((found, value) => found + (value !== null), 0) === 1;
}
