/*
 * The charts by keys: left and right from bucket to bucket, up and down from chart to chart.
 *
 * All charts are one stop of the Tab key; Enter shows what Shift and an arrow marked, or the bucket.
 */

const STEPS = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 };

export class Walk {
  #charts;
  #chart = 0; // the one with the focus
  #at = null; // the bucket that is pointed at
  #from = null; // where marking began

  constructor(strip, charts) {
    this.#charts = charts;
    charts[0].place.tabIndex = 0;
    strip.addEventListener("keydown", (event) => this.#press(event));
    strip.addEventListener("focusin", ({ target }) => {
      const chart = charts.findIndex(({ place }) => place === target);
      if (chart >= 0) this.#enter(chart);
    });
    strip.addEventListener("focusout", ({ relatedTarget }) => {
      if (!strip.contains(relatedTarget)) this.#leave();
    });
  }

  #press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const last = this.#charts[this.#chart].size - 1;
    if (event.key === "ArrowUp") this.#turnTo(this.#chart - 1);
    else if (event.key === "ArrowDown") this.#turnTo(this.#chart + 1);
    else if (event.key === "Home") this.#point(0, event.shiftKey);
    else if (event.key === "End") this.#point(last, event.shiftKey);
    else if (event.key in STEPS)
      this.#point(this.#at === null ? last : this.#at + STEPS[event.key], event.shiftKey);
    else if (event.key === "Enter" && this.#at !== null) this.#zoom();
    else if (event.key === "Escape" && this.#at !== null) this.#leave();
    else return;
    event.preventDefault();
  }

  #turnTo(chart) {
    if (!(chart in this.#charts)) return;
    this.#charts[this.#chart].pointAt(null);
    this.#charts[chart].place.focus();
  }

  #enter(chart) {
    for (const [at, { place }] of this.#charts.entries()) place.tabIndex = at === chart ? 0 : -1;
    this.#chart = chart;
    if (this.#at !== null) this.#point(this.#at, this.#from !== null);
  }

  #point(at, isMarking) {
    const chart = this.#charts[this.#chart];
    if (!chart.size) return;
    this.#from = isMarking ? (this.#from ?? this.#at ?? at) : null;
    this.#at = Math.max(0, Math.min(chart.size - 1, at));
    chart.pointAt(this.#at);
    const [from, to] = this.#marked();
    for (const each of this.#charts) each.mark(from, this.#from === null ? from - 1 : to);
  }

  #zoom() {
    const [from, to] = this.#marked();
    const chart = this.#charts[this.#chart];
    this.#leave();
    chart.zoomTo(from, to);
  }

  #marked() {
    const from = this.#from ?? this.#at;
    return [Math.min(from, this.#at), Math.max(from, this.#at)];
  }

  #leave() {
    if (this.#at === null) return;
    this.#at = null;
    this.#from = null;
    this.#charts[this.#chart].pointAt(null);
    for (const each of this.#charts) each.mark(0, -1);
  }
}
