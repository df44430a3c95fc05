// The board: from one reading of /status to everything that is shown of it.

import { Chart, spark } from "./charts.js";
import { byId, h, keep, say } from "./dom.js";
import * as format from "./format.js";
import { Records } from "./series.js";
import { Table, gauge, tag } from "./tables.js";

const LINES = 4; // of a chart
const VISIBLE = 0.02; // what is less than this share of the highest line would lie on the ground

export class Board {
  #records = new Records();
  #graph;
  #since = null;
  #charts = {
    throughput: new Chart("Records a second", format.rate),
    inFlight: new Chart("In flight", format.count),
    latency: new Chart("Latency of the slowest nodes, p99", format.duration),
  };
  #tables = {
    nodes: new Table("Nodes", [
      { title: "node", cell: (row) => row.name },
      { title: "type", cell: (row) => `${row.kind} ${row.type}` },
      { title: "busy", cell: (row) => (row.slots ? gauge(row.busy, row.slots, `${row.busy}/${row.slots}`, false) : "–") },
      { title: "rate", number: true, cell: (row) => format.rate(row.rate) },
      { title: "p50", number: true, cell: (row) => format.duration(row.p50) },
      { title: "p99", number: true, cell: (row) => format.duration(row.p99) },
      { title: "p99 over time", cell: (row) => (row.slots ? spark(row.latency, row.now, `p99 of ${row.name}`) : "–") },
      { title: "done", number: true, cell: (row) => format.count(row.done) },
      { title: "failed", number: true, alarm: true, cell: (row) => format.count(row.failed) },
      { title: "retried", number: true, cell: (row) => format.count(row.retried) },
    ]),
    edges: new Table("Edges", [
      { title: "edge", cell: (row) => row.name },
      { title: "depth", cell: (row) => gauge(row.buffered, row.capacity, `${format.count(row.buffered)} of ${format.count(row.capacity)}`), wide: true },
      { title: "when full", cell: (row) => row.when_full },
      { title: "rate", number: true, cell: (row) => format.rate(row.rate) },
      { title: "oldest", number: true, cell: (row) => format.duration(row.oldest_s) },
      { title: "deepest", number: true, cell: (row) => format.count(row.max_depth) },
      { title: "shed", number: true, alarm: true, cell: (row) => format.count(row.shed) },
      { title: "expired", number: true, cell: (row) => format.count(row.expired) },
    ]),
    workers: new Table("Workers", [
      { title: "worker", cell: (row) => row.name },
      { title: "type", cell: (row) => row.type },
      { title: "state", cell: (row) => workerState(row) },
      { title: "busy", cell: (row) => (row.limit ? gauge(row.busy, row.limit, `${row.busy} of ${row.limit}`, false) : String(row.busy)) },
      { title: "waiting", number: true, cell: (row) => format.count(row.waiting) },
      { title: "calls", number: true, cell: (row) => format.rate(row.rate) },
      { title: "p50", number: true, cell: (row) => format.duration(row.recent?.p50_s ?? row.p50_s) },
      { title: "p99", number: true, cell: (row) => format.duration(row.recent?.p99_s ?? row.p99_s) },
      { title: "tokens in / out", number: true, cell: (row) => `${format.count(row.input_tokens)} / ${format.count(row.output_tokens)}`, wide: true },
      { title: "cost", number: true, cell: (row) => (row.cost ? format.money(row.cost) : "–") },
      { title: "limits", cell: (row) => limits(row), wide: true },
      { title: "errors", alarm: true, cell: (row) => errors(row), wide: true },
    ]),
    errors: new Table("What failed", [
      { title: "at", cell: (row) => row.node },
      { title: "code", cell: (row) => row.code },
      { title: "count", number: true, cell: (row) => format.count(row.count) },
      { title: "first of them", cell: (row) => `${row.record}: ${row.message}`, wide: true },
    ]),
  };

  constructor(graph) {
    this.#graph = graph;
    byId("charts").append(...Object.values(this.#charts).map((chart) => chart.element));
    for (const [name, table] of Object.entries(this.#tables)) byId(name).append(table.element);
  }

  /** Forget all that was read: another run has other counters. */
  clear() {
    this.#records.clear();
    this.#since = null;
  }

  show(status, plan) {
    const now = status.time;
    this.#since ??= now;
    const slots = new Map(plan.nodes.map((node) => [node.name, node]));
    const down = new Set(status.reasons.map(({ what }) => what));
    this.#showHead(status);
    this.#showFigures(status, now);
    const nodes = this.#readNodes(status, slots, now);
    this.#showNodes(nodes, slots, down);
    this.#showEdges(status, now);
    this.#showWorkers(status, now, down);
    this.#tables.errors.show(new Map(status.errors.map((row) => [`${row.node} ${row.code}`, row])));
    byId("errors-panel").hidden = !status.errors.length;
    showOutcomes(status);
    this.#showCharts(nodes, now);
  }

  #showHead(status) {
    say(byId("pipeline"), status.pipeline);
    document.title = `${status.ready ? "" : "● "}${status.pipeline} – dagflow`;
    const state = byId("state");
    say(state, status.state === "running" ? (status.ready ? "running, ready" : "running, not ready") : status.state);
    state.className = `state ${status.ready ? "good" : status.state === "running" ? "bad" : "warn"}`;
    say(byId("facts"), `for ${format.age(status.uptime_s)}`);
    byId("facts").title = `dagflow ${status.version}, process ${status.pid}`;
  }

  #showFigures(status, now) {
    const settled = status.settled;
    const rate = this.#records.rate("settled", now, settled);
    const ended = this.#records.rate("accepted", now, status.taken_in);
    this.#records.add("settled", now, rate);
    this.#records.add("accepted", now, ended);
    this.#records.add("in flight", now, status.in_flight);
    const { failed, shed, expired } = status.outcomes;
    const letters = status.dead_letters;
    const figures = [
      ["Settled", format.rate(rate), `${format.rate(ended)} accepted`],
      ["In flight", format.count(status.in_flight), `of at most ${format.count(status.max_in_flight)}`],
      [status.taken_over ? "Taken in" : "Accepted", format.count(status.taken_in), `${format.share(status.outcomes.delivered, settled)} delivered`],
      ["Failed", format.count(failed), failed ? format.share(failed, settled) : "", failed ? "bad" : ""],
      ["Shed", format.count(shed), expired ? `${format.count(expired)} expired` : "", shed ? "warn" : ""],
      ...(letters ? [["Dead letters", format.count(letters.in_store), `${format.count(letters.kept)} since the start`, letters.in_store ? "warn" : ""]] : []),
    ];
    const rows = new Map(figures.map((figure) => [figure[0], figure]));
    keep(byId("figures"), [...rows.keys()], (name) =>
      h("div", { class: "figure" }, h("div", { class: "label" }, name), h("div", { class: "value" }), h("div", { class: "more" })),
    );
    for (const element of byId("figures").children) {
      const [, value, more, tone = ""] = rows.get(element.dataset.key);
      say(element.children[1], value);
      element.children[1].className = `value ${tone}`;
      say(element.children[2], more);
    }
  }

  #readNodes(status, slots, now) {
    const rows = new Map();
    for (const [name, row] of Object.entries(status.nodes)) {
      const isSource = row.kind === "source";
      const fresh = row.recent?.count ? row.recent : null;
      rows.set(name, {
        ...row,
        name,
        now,
        slots: isSource ? 0 : slots.get(name)?.concurrency ?? 0,
        rate: this.#records.rate(`node ${name}`, now, row.done),
        p50: fresh ? fresh.p50_s : row.p50_s,
        p99: fresh ? fresh.p99_s : row.p99_s,
        latency: this.#records.add(`p99 ${name}`, now, isSource ? null : fresh?.p99_s ?? null),
      });
    }
    return rows;
  }

  #showNodes(rows, slots, down) {
    this.#tables.nodes.show(rows);
    for (const row of rows.values()) {
      const words = row.slots ? `${row.busy}/${row.slots} busy · ${format.duration(row.p50)}` : format.rate(row.rate);
      const workers = slots.get(row.name)?.workers ?? [];
      this.#graph.showNode(row.name, { text: words, isDown: workers.some((worker) => down.has(`worker \`${worker}\``)) });
    }
  }

  #showEdges(status, now) {
    const rows = new Map();
    for (const [name, row] of Object.entries(status.edges)) {
      const rate = this.#records.rate(`edge ${name}`, now, row.taken);
      rows.set(name, { ...row, name, rate });
      this.#graph.showEdge(name, { depth: row.buffered, capacity: row.capacity, rate });
    }
    this.#tables.edges.show(rows);
  }

  #showWorkers(status, now, down) {
    const rows = new Map();
    for (const [name, row] of Object.entries(status.workers)) {
      const rate = this.#records.rate(`worker ${name}`, now, row.calls);
      rows.set(name, { ...row, name, rate, limit: row.concurrency?.limit, isDown: down.has(`worker \`${name}\``) });
    }
    this.#tables.workers.show(rows);
    byId("workers-panel").hidden = byId("workers-link").hidden = !rows.size;
  }

  #showCharts(nodes, now) {
    const named = (name, shown = name) => ({ name: shown, series: this.#records.of(name) });
    this.#charts.throughput.show([named("settled"), named("accepted")], now);
    this.#charts.inFlight.show([named("in flight", "records")], now);
    const timed = [...nodes.values()].filter((row) => row.slots && row.latency.most > 0);
    timed.sort((a, b) => b.latency.most - a.latency.most);
    const slowest = timed.filter((row) => row.latency.most >= VISIBLE * timed[0].latency.most);
    this.#charts.latency.show(slowest.slice(0, LINES).map((row) => ({ name: row.name, series: row.latency })), now);
    say(byId("span"), `seen by this page for ${format.age(now - this.#since)}`);
  }
}

function workerState(row) {
  const breaker = row.breaker?.state;
  if (breaker && breaker !== "closed") return tag(`breaker ${breaker}`, breaker === "open" ? "bad" : "warn");
  return row.isDown ? tag("down", "bad") : tag("up", "good");
}

function limits(row) {
  const words = (row.limits ?? []).flatMap((limit) =>
    ["requests", "tokens"].filter((name) => limit[name]).map((name) => `${format.count(limit[name].used)} of ${format.count(limit[name].limit)} ${name}`),
  );
  if (row.budget?.reject) words.push(`${format.money(row.budget.spent)} of ${format.money(row.budget.reject)} spent`);
  return words.join(", ") || "–";
}

function errors(row) {
  const words = Object.entries(row.errors).map(([name, number]) => `${format.count(number)} ${name}`);
  if (row.turned_away) words.push(`${format.count(row.turned_away)} not made`);
  return words.join(", ") || "–";
}

function showOutcomes(status) {
  const parts = [...Object.entries(status.outcomes), ["in flight", status.in_flight]];
  if (status.handed_off) parts.push(["handed off", status.handed_off]);
  const total = status.settled + status.in_flight || 1;
  let box = byId("outcomes");
  if (!box.childElementCount) {
    box.append(h("div", { class: "shares", "aria-hidden": "true" }), h("ul", { class: "share-list" }));
  }
  const names = parts.map(([name]) => name);
  const kind = (name) => name.replace(" ", "-");
  keep(box.children[0], names, (name) => h("span", { class: kind(name) }));
  keep(box.children[1], names, (name) => h("li", {}, h("span", { class: `swatch ${kind(name)}` }), h("b", {}), ` ${name} `, h("span", { class: "quiet" })));
  parts.forEach(([, number], place) => {
    box.children[0].children[place].style.width = `${(100 * number) / total}%`;
    const item = box.children[1].children[place];
    say(item.querySelector("b"), format.count(number));
    say(item.querySelector(".quiet"), number ? format.share(number, total) : "");
  });
}
