// Tables of nodes, edges, workers and failures. Rows stay where they are; their cells change.

import { spark } from "./charts.js";
import { h, keep, say } from "./dom.js";

/**
 * A table whose columns are `{title, cell(row), number?, alarm?, wide?, kept?}`; the first column is the row's name.
 * A cell that is `kept` is made once for each row: it holds what has the focus or was chosen.
 */
export class Table {
  #columns;
  #body = h("tbody", { role: "rowgroup" });

  constructor(caption, columns) {
    this.#columns = columns;
    const titles = columns.map(({ title, number }) =>
      h("th", { scope: "col", role: "columnheader", class: number ? "number" : null }, title),
    );
    this.element = h(
      "table",
      { role: "table", "aria-label": caption },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...titles)),
      this.#body,
    );
  }

  /** Show rows: a Map of them by their names. */
  show(rows) {
    keep(this.#body, [...rows.keys()], (name) => this.#row(name));
    for (const line of this.#body.children) this.#fill(line, rows.get(line.dataset.key));
  }

  #row(name) {
    const cells = this.#columns.map(({ title, number, wide }, place) =>
      place
        ? h("td", { role: "cell", "data-label": title, class: [number && "number", wide && "wide"].filter(Boolean).join(" ") || null })
        : h("th", { scope: "row", role: "rowheader" }),
    );
    return h("tr", { role: "row" }, ...cells);
  }

  #fill(line, row) {
    this.#columns.forEach(({ cell, alarm, kept }, place) => {
      const target = line.children[place];
      if (kept && target.childNodes.length) return;
      const found = cell(row);
      if (found instanceof Node) target.replaceChildren(found);
      else say(target, String(found));
      target.classList.toggle("nothing", found === "–" || found === "0" || found === "");
      if (alarm) target.classList.toggle("bad", found !== "0" && found !== "–");
    });
  }
}

/** A bar and its words. */
export function gauge(part, whole, words, alarms = true) {
  const share = whole ? Math.min(part / whole, 1) : 0;
  const bar = h("span", {});
  bar.style.width = `${(100 * share).toFixed(1)}%`;
  const tone = !alarms ? "" : share >= 0.9 ? " full" : share >= 0.5 ? " busy" : "";
  return h("span", {}, h("span", { class: `gauge${tone}`, "aria-hidden": "true" }, bar), words);
}

export const tag = (text, tone = "") => h("span", { class: `tag ${tone}` }, text);

export { spark };
