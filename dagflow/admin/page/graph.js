// The graph as the server draws it, with depth and flow put on its edges and work on its nodes.

import { byId, say, svg } from "./dom.js";
import * as format from "./format.js";

const NARROW = 760;

export class Graph {
  #room;
  #nodes = new Map();
  #edges = new Map();

  constructor(room) {
    this.#room = room;
  }

  /** Where the flow should go, for the width of the page. */
  static get flow() {
    return innerWidth < NARROW ? "down" : "";
  }

  /** Take the text of the drawing. */
  load(text) {
    const drawn = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
    const picture = document.importNode(drawn, true);
    this.#nodes = new Map([...picture.querySelectorAll("[data-node]")].map((group) => [group.dataset.node, group]));
    this.#edges = new Map([...picture.querySelectorAll("[data-edge]")].map((group) => [group.dataset.edge, group]));
    for (const group of this.#edges.values()) prepare(group);
    this.#room.replaceChildren(picture);
    const { width, height } = picture.viewBox.baseVal;
    byId("board").classList.toggle("portrait", height > width);
    this.#room.scrollLeft = (this.#room.scrollWidth - this.#room.clientWidth) / 2;
  }

  get isLoaded() {
    return this.#room.childElementCount > 0;
  }

  showNode(name, { text, isDown }) {
    const group = this.#nodes.get(name);
    if (!group) return;
    say(group.querySelector(".live"), text);
    group.classList.toggle("down", isDown);
  }

  showEdge(name, { depth, capacity, rate }) {
    const group = this.#edges.get(name);
    if (!group) return;
    const share = Math.min(depth / capacity, 1);
    say(group.querySelector(".live.depth"), `${format.count(depth)} / ${format.count(capacity)}`);
    say(group.querySelector(".live.rate"), format.rate(rate));
    const label = group.querySelector(".label");
    group.querySelector("rect.depth").setAttribute("width", (share * label.width.baseVal.value).toFixed(1));
    group.classList.toggle("busy", share >= 0.5 && share < 0.9);
    group.classList.toggle("full", share >= 0.9);
    group.classList.toggle("flows", rate > 0);
    // Width and pace grow with the logarithm: 1/s and 10,000/s are both to be seen.
    const strength = Math.log10(1 + (rate ?? 0));
    group.querySelector(".flow").setAttribute("stroke-width", (1.5 + 0.9 * strength).toFixed(2));
    group.querySelector(".flow").style.animationDuration = `${(2 / (1 + strength)).toFixed(2)}s`;
  }
}

function prepare(group) {
  const line = group.querySelector(".line");
  const label = group.querySelector(".label");
  const place = Object.fromEntries(["x", "y", "height", "rx"].map((name) => [name, label.getAttribute(name)]));
  line.after(svg("path", { class: "flow", d: line.getAttribute("d") }));
  label.after(svg("rect", { class: "depth", ...place, width: 0 }));
}
