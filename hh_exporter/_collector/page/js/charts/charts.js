/*
 * The strip of charts: when it is read anew, what time it shows, who is who by colour.
 *
 * It reads only while somebody can see it, one reading at a time, and only once the totals of the
 * same filter are known: they say how far back it goes.
 */

import { stretchOf } from "../ask/range.js";
import { ApiError, readJson } from "../common/api.js";
import { make, makeButton } from "../common/dom.js";
import { fullTime, NONE } from "../common/format.js";
import { Chart } from "./chart.js";
import { CHARTS, linesOf, nameOf, seriesOf, stepFor } from "./series.js";
import { makeSwatch } from "./tip.js";
import { Walk } from "./walk.js";

const HOUR = 3_600_000;
const BUCKETS = 120;
const SHORTEST = 2_000; // between two readings
const LONGEST = 30_000;
const PER_SPAN = 1 / 300; // of a range, until which a reading is good enough

export class Charts {
  #section;
  #address;
  #totals;
  #charts;
  #models;
  #legend = make("ul", { class: "legend" });
  #note = make("p", { class: "charts-note", id: "charts-note", role: "status" });
  #isReading = false;
  #isAskedAgain = false;
  #readAt = -Infinity;
  #span = 0;
  #isStale = true; // something changed since it was read

  constructor(section, address, totals) {
    this.#section = section;
    this.#address = address;
    this.#totals = totals;
    const zoom = (since, until) => address.set({ since, until }, { step: true });
    this.#charts = CHARTS.map((description) => [description, new Chart(description, zoom)]);
    this.#models = makeButton(
      "By model",
      () => address.set({ by: address.get("by") ? null : "model" }),
      { id: "by-model" },
    );
    const bar = make("div", { class: "charts-bar" }, this.#models, this.#legend, this.#note);
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
    totals.addEventListener("change", ({ detail: { isNew } }) => {
      this.#isStale = true;
      if (totals.now === null) this.#showNothing(totals.problem);
      else if (isNew) this.refresh();
      else this.#tick();
    });
    address.addEventListener("change", ({ detail }) => {
      this.#showChoice();
      if (detail.has("by")) this.refresh();
    });
    document.addEventListener("visibilitychange", () => this.#tick());
    setInterval(() => this.#tick(), SHORTEST);
    this.#showChoice();
  }

  /** Read it anew now. */
  refresh() {
    this.#isStale = true;
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
    const isMoving = this.#address.hasRange && !this.#address.isZoomed;
    const isKnown = this.#totals.now !== null;
    if (this.#isSeen && isKnown && isDue && (this.#isStale || isMoving)) this.#read();
  }

  async #read() {
    if (this.#isReading) {
      this.#isAskedAgain = true;
      return;
    }
    this.#isReading = true;
    this.#isStale = false;
    this.#readAt = performance.now();
    const totals = this.#totals.now;
    try {
      await this.#show(totals, this.#findRange(totals));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#isStale = true; // the next tick tries again
      if (error.status === 400) this.#showNothing(error.message);
    } finally {
      this.#isReading = false;
      if (this.#isAskedAgain) {
        this.#isAskedAgain = false;
        this.refresh();
      }
    }
  }

  async #show(totals, { since, until, step }) {
    const by = this.#address.get("by");
    const filter = this.#address.get("filter");
    const series = await readJson("/api/series", { filter, since, until, step, by });
    if (totals !== this.#totals.now && this.#totals.now === null) return; // of another filter
    this.#span = until - since;
    for (const [description, chart] of this.#charts) {
      const lines = linesOf(description, series, Boolean(by));
      const sums = description.sums(totals);
      chart.show(series.times, lines, { since, until, sums, isByModel: Boolean(by) });
    }
    this.#showLegend(by ? series.groups : []);
    const from = series.searched_from ?? null;
    this.#showNote(
      from === null ? "" : `Searched back to ${fullTime(from)}: there is too much text to read all.`,
    );
  }

  /** The time that is shown, in whole steps: a bucket must not change from reading to reading. */
  #findRange({ oldest, newest }) {
    const now = Date.now();
    const { since: from, until: to } = this.#address.filters;
    const all = stretchOf(oldest, newest, now);
    const until = to ? Number(to) : from ? now : all.until;
    const first = to ? Math.min(oldest ?? until - HOUR, until - 1) : all.since;
    const since = from ? Number(from) : first;
    const step = stepFor(Math.max(1, until - since), BUCKETS);
    return { since: Math.floor(since / step) * step, until: Math.ceil(until / step) * step, step };
  }

  #showChoice() {
    this.#models.setAttribute("aria-pressed", String(Boolean(this.#address.get("by"))));
  }

  /** The filter can't be asked for; the text says why, unless that is said elsewhere. */
  #showNothing(text = "") {
    for (const [description, chart] of this.#charts) {
      const lines = linesOf(description, { groups: [], step: 1 }, false);
      const sums = lines.map(() => NONE);
      chart.show([], lines, { since: 0, until: 1, sums, isByModel: false });
    }
    this.#showLegend([]);
    this.#showNote(text);
  }

  #showNote(text) {
    if (this.#note.textContent !== text) this.#note.textContent = text;
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
