// What was read over the last ten minutes, and rates from one reading to the next. All of it stays in this page.

const KEEP_S = 600;
const POINTS = 600;
const SMOOTH_S = 5; // a rate is that of the last few seconds, so that it can be read

export class Series {
  #points = [];

  add(time, value) {
    this.#points.push({ time, value });
    while (this.#points.length > POINTS || this.#points[0].time < time - KEEP_S) this.#points.shift();
  }

  get points() {
    return this.#points;
  }

  get last() {
    return this.#points.at(-1)?.value ?? null;
  }

  get most() {
    return this.#points.reduce((most, { value }) => Math.max(most, value ?? 0), 0);
  }
}

/** Turns counters into rates; keeps all of what was measured by name. */
export class Records {
  #counters = new Map();
  #series = new Map();

  /** Give the rate of a counter, by its name; null at first. One that went backwards began anew. */
  rate(name, time, value) {
    const seen = this.#counters.get(name) ?? [];
    if (seen.length && value < seen.at(-1).value) seen.length = 0;
    seen.push({ time, value });
    while (seen.length > 2 && seen[1].time <= time - SMOOTH_S) seen.shift();
    this.#counters.set(name, seen);
    const passed = time - seen[0].time;
    return passed > 0 ? (value - seen[0].value) / passed : null;
  }

  add(name, time, value) {
    const series = this.of(name);
    series.add(time, value);
    return series;
  }

  of(name) {
    if (!this.#series.has(name)) this.#series.set(name, new Series());
    return this.#series.get(name);
  }

  clear() {
    this.#counters.clear();
    this.#series.clear();
  }
}
