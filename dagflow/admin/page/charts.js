// Small charts of the last ten minutes, drawn by hand; each says in words what it shows.

import { h, say, svg } from "./dom.js";
import { duration } from "./format.js";

const LONGEST_S = 600;
const SHORTEST_S = 60;
const WIDTH = 300;
const HEIGHT = 96;

/** One chart with up to four lines, on one scale from zero. */
export class Chart {
  #title;
  #write;
  #lines = svg("g");
  #keys = h("span", { class: "keys" });
  #top = h("span");
  #begin = h("span");
  #drawing;
  #known = "";

  constructor(title, write) {
    this.#title = title;
    this.#write = write;
    const grid = [0.5, 24.5, 48.5, 72.5, 95.5].map((y) => svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: y, y2: y }));
    const attributes = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" };
    this.#drawing = svg("svg", attributes, ...grid, this.#lines);
    this.element = h(
      "figure",
      { class: "chart" },
      h("figcaption", {}, h("h3", {}, title), this.#keys),
      this.#drawing,
      h("div", { class: "axis" }, this.#begin, this.#top, h("span", {}, "now")),
    );
  }

  /** Show some series: `[{name, series}]`. */
  show(shown, now) {
    const span = spanOf(shown.map(({ series }) => series), now);
    const most = Math.max(...shown.map(({ series }) => series.most), 0);
    const scale = most || 1;
    this.#lines.replaceChildren(...shown.flatMap(({ series }, place) => lines(series.points, { now, span, scale }, place + 1, shown.length === 1)));
    say(this.#top, most ? `top ${this.#write(most)}` : "nothing yet");
    say(this.#begin, `${duration(span)} ago`);
    this.#name(shown);
    const words = shown.map(({ name, series }) => `${name} now ${this.#write(series.last)}, at most ${this.#write(series.most)}`);
    this.#drawing.setAttribute("aria-label", `${this.#title} in the last ${duration(span)}: ${words.join("; ") || "nothing yet"}`);
  }

  #name(shown) {
    const names = shown.map(({ name }) => name).join("\n");
    if (names !== this.#known) {
      this.#known = names;
      this.#keys.replaceChildren(
        ...shown.map(({ name }, place) => h("span", {}, h("span", { class: `dot s${place + 1}` }), `${name} `, h("b", {}))),
      );
    }
    shown.forEach(({ series }, place) => say(this.#keys.children[place].querySelector("b"), this.#write(series.last)));
  }
}

/** A line without axes, for a cell of a table. */
export function spark(series, now, name) {
  const drawing = svg("svg", { class: "spark", viewBox: "0 0 300 96", preserveAspectRatio: "none", role: "img", "aria-label": name });
  const frame = { now, span: spanOf([series], now), scale: series.most || 1 };
  drawing.append(...lines(series.points, frame, 1, false));
  return drawing;
}

/** The time that some series reach back, at most that of the chart: what is new fills the room. */
function spanOf(shown, now) {
  const first = Math.min(...shown.map((series) => series.points[0]?.time ?? now), now);
  return Math.min(Math.max(Math.ceil((now - first) / SHORTEST_S) * SHORTEST_S, SHORTEST_S), LONGEST_S);
}

function lines(points, { now, span, scale }, number, filled) {
  const places = points
    .filter(({ value }) => value !== null)
    .map(({ time, value }) => [WIDTH * (1 - (now - time) / span), HEIGHT - 1 - (HEIGHT - 3) * (value / scale)]);
  if (places.length < 2) return [];
  const way = places.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
  const line = svg("polyline", { class: `series s${number}`, points: way });
  if (!filled) return [line];
  const ground = `${places[0][0].toFixed(1)},${HEIGHT} ${way} ${places.at(-1)[0].toFixed(1)},${HEIGHT}`;
  return [svg("polygon", { class: `area s${number}`, points: ground }), line];
}
