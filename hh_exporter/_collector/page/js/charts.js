/*
 * The strip of charts: what range it shows, when it is read anew, who is who by colour.
 *
 * It reads only while somebody can see it, and one reading at a time.
 */

import { ApiError, readJson } from "./api.js";
import { Chart } from "./chart.js";
import { make, makeButton } from "./dom.js";
import { NONE } from "./format.js";
import { CHARTS, linesOf, nameOf, seriesOf, stepFor } from "./series.js";
import { makeSwatch } from "./tip.js";
import { Walk } from "./walk.js";

const MINUTE = 60_000;
const RANGES = [
  ["5m", "5 min", 5 * MINUTE],
  ["1h", "1 h", 60 * MINUTE],
  ["24h", "24 h", 24 * 60 * MINUTE],
  ["all", "All", null],
];
const BUCKETS = 120;
const SHORTEST = 2_000; // between two readings
const LONGEST = 30_000;
const PER_SPAN = 1 / 300; // of a range, until which a reading is good enough

export class Charts {
  #section;
  #address;
  #charts;
  #ranges;
  #models;
  #legend = make("ul", { class: "legend" });
  #isReading = false;
  #isAskedAgain = false;
  #readAt = -Infinity;
  #span = 0;
  #isStale = true; // something changed since it was read
  #isRefused = false; // the collector can't count these filters

  constructor(section, address) {
    this.#section = section;
    this.#address = address;
    const zoom = (since, until) => address.set({ since, until }, { step: true });
    this.#charts = CHARTS.map((description) => [description, new Chart(description, zoom)]);
    this.#ranges = RANGES.map(([range, label]) =>
      makeButton(
        label,
        () => address.set({ range: range === "5m" ? null : range, since: null, until: null }),
        { "data-range": range },
      ),
    );
    this.#models = makeButton(
      "By model",
      () => address.set({ by: address.get("by") ? null : "model" }),
      { id: "by-model" },
    );
    const choice = make(
      "div",
      { class: "ranges", role: "group", "aria-label": "Range" },
      ...this.#ranges,
    );
    const bar = make("div", { class: "charts-bar" }, choice, this.#models, this.#legend);
    const strip = make(
      "div",
      { class: "charts-strip", role: "group", "aria-label": "Charts: arrow keys read them" },
      ...this.#charts.map(([, chart]) => chart.element),
    );
    section.append(bar, strip);
    new Walk(
      strip,
      this.#charts.map(([, chart]) => chart),
    );
    address.addEventListener("change", ({ detail }) => {
      if (detail.size > 1 || !(detail.has("event") || detail.has("tab"))) this.refresh();
    });
    document.addEventListener("visibilitychange", () => this.#tick());
    setInterval(() => this.#tick(), SHORTEST);
    this.#showChoice();
  }

  /** Read it anew at the next occasion: events came or went. */
  touch() {
    this.#isStale = true;
  }

  /** Read it anew now. */
  refresh() {
    this.#showChoice();
    this.#isStale = true;
    this.#isRefused = false;
    this.#readAt = -Infinity;
    this.#tick();
  }

  recolour() {
    for (const [, chart] of this.#charts) chart.recolour();
  }

  get #isSeen() {
    return !document.hidden && !this.#section.hidden;
  }

  #tick() {
    const pause = Math.min(LONGEST, Math.max(SHORTEST * 0.9, this.#span * PER_SPAN));
    const isDue = performance.now() - this.#readAt >= pause;
    const isMoving = !this.#address.get("until") && this.#address.get("range") !== "all";
    if (this.#isSeen && isDue && !this.#isRefused && (this.#isStale || isMoving)) this.#read();
  }

  async #read() {
    if (this.#isReading) {
      this.#isAskedAgain = true;
      return;
    }
    this.#isReading = true;
    this.#isStale = false;
    this.#readAt = performance.now();
    try {
      await this.#show(await this.#findRange());
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#isStale = true; // the next tick tries again
      if (error.status === 400) this.#showRefusal(error.message);
    } finally {
      this.#isReading = false;
      if (this.#isAskedAgain) {
        this.#isAskedAgain = false;
        this.refresh();
      }
    }
  }

  async #show({ since, until, step }) {
    const filters = { ...this.#address.filters, since, until };
    const by = this.#address.get("by");
    const [series, whole] = await Promise.all([
      readJson("/api/series", { ...filters, step, by }),
      readJson("/api/series", { ...filters, step: until - since }),
    ]);
    this.#span = until - since;
    for (const [description, chart] of this.#charts) {
      const lines = linesOf(description, series, Boolean(by));
      const sums = description.sums(totalsOf(whole.groups[0]));
      chart.show(series.times, lines, { since, until, sums, isByModel: Boolean(by) });
    }
    this.#showLegend(by ? series.groups : []);
  }

  async #findRange() {
    const given = [Number(this.#address.get("since")), Number(this.#address.get("until"))];
    const [, , length] =
      RANGES.find(([name]) => name === (this.#address.get("range") || "5m")) ?? RANGES[0];
    let [since, until] = [0, Date.now()];
    if (given[0] || given[1]) {
      until = given[1] || until;
      since = given[0] || until - 60 * MINUTE;
    } else if (length !== null) {
      since = until - length;
    } else {
      const stats = await readJson("/api/stats");
      since = stats.oldest ?? until - MINUTE;
      until = (stats.newest ?? until) + 1;
    }
    const step = stepFor(Math.max(1, until - since), BUCKETS);
    // Whole steps: a bucket must not change its events from one reading to the next.
    return { since: Math.floor(since / step) * step, until: Math.ceil(until / step) * step, step };
  }

  #showChoice() {
    const isZoomed = Boolean(this.#address.get("since") || this.#address.get("until"));
    for (const button of this.#ranges) {
      const isChosen = !isZoomed && button.dataset.range === (this.#address.get("range") || "5m");
      button.setAttribute("aria-pressed", String(isChosen));
    }
    this.#models.setAttribute("aria-pressed", String(Boolean(this.#address.get("by"))));
  }

  #showRefusal(text) {
    this.#isRefused = true;
    for (const [description, chart] of this.#charts) {
      const lines = linesOf(description, { groups: [], step: 1 }, false);
      const sums = lines.map(() => NONE);
      chart.show([], lines, { since: 0, until: 1, sums, isByModel: false });
    }
    this.#legend.replaceChildren(make("li", {}, text));
  }

  #showLegend(groups) {
    const entry = (group, at) =>
      make(
        "li",
        {},
        makeSwatch(seriesOf(group, at)),
        make("span", { dir: "auto" }, nameOf(group)),
      );
    this.#legend.replaceChildren(...groups.map(entry));
  }
}

/** What one group adds up to whose only bucket is the whole range. */
function totalsOf(group) {
  const values = Object.entries(group).map(([name, found]) => [name, found?.[0]]);
  const { count, ...others } = Object.fromEntries(values);
  return { events: count, ...others };
}
