// Dead letters: a list with filters, one shown whole, and replay and purge after a question.

import { getJson, post } from "./api.js";
import { ask, tell } from "./dialogs.js";
import { byId, h, say } from "./dom.js";
import * as format from "./format.js";
import { Table } from "./tables.js";

const PAGE = 20;
const AGES = [["", "any time"], ["15min", "15 minutes"], ["1h", "1 hour"], ["24h", "1 day"], ["7d", "7 days"]];

export class Letters {
  #rows = new Map();
  #chosen = new Set();
  #next = null;
  #total = 0;
  #inStore = null;
  #answers = false; // whether a sink answers callers
  #ended = null; // the number of the last replay that is over
  #fields = {
    node: h("select", { id: "letters-node" }),
    error: h("input", { id: "letters-error", placeholder: "any", size: 16, spellcheck: "false" }),
    since: h("select", { id: "letters-since" }, ...AGES.map(([value, name]) => h("option", { value }, name))),
  };
  #all = h("input", { type: "checkbox", "aria-label": "Choose all that are listed", onchange: () => this.#chooseAll() });
  #words = h("p", { class: "quiet", role: "status", "aria-live": "polite" });
  #progress = h("p", { class: "progress", role: "status", "aria-live": "polite", hidden: true });
  #more = h("button", { type: "button", onclick: () => this.#read(true) }, "Show more");
  #replay = h("button", { type: "button", class: "strong", onclick: () => this.#askReplay() }, "Replay");
  #purge = h("button", { type: "button", onclick: () => this.#askPurge() }, "Purge");
  #table = new Table("Dead letters", [
    { title: "letter", cell: (row) => this.#choice(row), kept: true },
    { title: "time", cell: (row) => new Date(row.time).toLocaleString(), wide: true },
    { title: "record", cell: (row) => row.record, wide: true },
    { title: "ended", cell: (row) => `${row.outcome} at ${row.place}`, wide: true },
    { title: "error", cell: (row) => (row.message === row.code ? row.code : `${row.code}: ${row.message}`), wide: true },
    { title: "replays", number: true, cell: (row) => format.count(row.replays) },
    { title: "", cell: (row) => this.#showButton(row), kept: true },
  ]);

  constructor() {
    const labelled = (name, text) => h("label", { for: this.#fields[name].id }, text, this.#fields[name]);
    const filters = h(
      "form",
      { class: "row filters", onsubmit: (event) => this.#filter(event) },
      labelled("node", "Goes on at"),
      labelled("error", "Error code"),
      labelled("since", "In the last"),
      h("button", { type: "submit" }, "Filter"),
    );
    const actions = h("div", { class: "row actions" }, h("label", {}, this.#all, " all listed"), this.#replay, this.#purge, this.#words);
    byId("letters").append(filters, this.#progress, actions, this.#table.element, this.#more);
  }

  /** Offer the nodes of a graph as filters. */
  begin(plan) {
    const nodes = plan.nodes.map(({ name }) => h("option", { value: name }, name));
    this.#fields.node.replaceChildren(h("option", { value: "" }, "any node"), ...nodes);
    this.#answers = plan.nodes.some(({ kind, type }) => kind === "sink" && type === "reply");
    this.#inStore = null;
  }

  /** Take the numbers of a reading; the list is read anew when they have changed and nobody is choosing. */
  show(status) {
    const known = Boolean(status.dead_letters);
    byId("letters-panel").hidden = byId("letters-link").hidden = !known;
    if (!known) return;
    this.#showProgress(status.replay);
    const ended = status.replay?.state === "over" ? status.replay.number : 0;
    if (ended !== this.#ended) {
      if (this.#ended !== null) this.#read(false);
      this.#ended = ended;
    }
    const { in_store: inStore, kept } = status.dead_letters;
    const mark = `${inStore} ${kept}`;
    if (mark === this.#inStore) return;
    const first = this.#inStore === null;
    this.#inStore = mark;
    // A list that moves under the hand that chooses from it is worse than an old one.
    if (first || (!this.#chosen.size && this.#rows.size <= PAGE && !byId("letters-panel").contains(document.activeElement))) this.#read(false);
    else this.#count(`${format.count(inStore)} in the store now`);
  }

  #query(after) {
    const given = Object.entries(this.#fields).map(([name, field]) => [name, field.value.trim()]);
    const query = new URLSearchParams(given.filter(([, value]) => value));
    query.set("limit", PAGE);
    if (after) query.set("after", after);
    return query;
  }

  async #read(further) {
    try {
      const page = await getJson(`/dead-letters?${this.#query(further ? this.#next : null)}`);
      if (!further) this.#rows.clear();
      for (const letter of page.letters) this.#rows.set(String(letter.id), letter);
      this.#chosen = new Set([...this.#chosen].filter((id) => this.#rows.has(String(id))));
      this.#next = page.next;
      this.#total = page.total;
      this.#draw();
    } catch (error) {
      say(this.#words, error.message);
    }
  }

  #draw() {
    this.#table.show(this.#rows);
    for (const line of this.#table.element.querySelectorAll("tbody tr"))
      line.querySelector("input").checked = this.#chosen.has(Number(line.dataset.key));
    this.#table.element.hidden = !this.#rows.size;
    this.#more.hidden = !this.#next;
    this.#count();
  }

  #count(more = "") {
    const chosen = this.#chosen.size;
    const listed = this.#rows.size < this.#total ? `, ${format.count(this.#rows.size)} of them listed` : "";
    const words = this.#total ? `${format.plural(this.#total, "dead letter")}${listed}` : "no dead letters";
    say(this.#words, [words, chosen ? `${format.count(chosen)} chosen` : "", more].filter(Boolean).join("; "));
    say(this.#replay, chosen ? `Replay ${format.count(chosen)}` : "Replay all that match");
    say(this.#purge, chosen ? `Purge ${format.count(chosen)}` : "Purge all that match");
    this.#replay.disabled = this.#purge.disabled = !this.#total;
    this.#all.checked = chosen > 0 && chosen === this.#rows.size;
    this.#all.indeterminate = chosen > 0 && chosen < this.#rows.size;
  }

  #filter(event) {
    event.preventDefault();
    this.#read(false);
  }

  #choice(row) {
    const choose = ({ target }) => {
      this.#chosen[target.checked ? "add" : "delete"](row.id);
      this.#count();
    };
    return h("label", {}, h("input", { type: "checkbox", onchange: choose, "aria-label": `Choose letter ${row.id}` }), ` ${row.id}`);
  }

  #chooseAll() {
    for (const box of this.#table.element.querySelectorAll("input[type=checkbox]")) box.checked = this.#all.checked;
    this.#chosen = new Set(this.#all.checked ? [...this.#rows.values()].map(({ id }) => id) : []);
    this.#count();
  }

  #showButton(row) {
    return h("button", { type: "button", class: "plain", "aria-label": `Show letter ${row.id}`, onclick: () => this.#open(row) }, "Show");
  }

  async #open(row) {
    const pairs = [
      ["record", row.record], ["source", row.source], ["ended", `${row.outcome} at ${row.place}`], ["goes on at", row.node],
      ["time", new Date(row.time).toLocaleString()], ["attempts", row.attempts], ["replays", row.replays], ["code", row.code],
      ...row.chain.map(({ type, message }, place) => [place ? "caused by" : "error", `${type}: ${message}`]),
    ];
    const content = h("div", {});
    const reveal = h("button", { type: "button", onclick: () => this.#reveal(row.id, content, reveal) }, "Show the record’s contents");
    const list = h("dl", {}, ...pairs.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))]));
    await tell(`Dead letter ${row.id}`, list, h("p", { class: "row" }, reveal), content);
  }

  async #reveal(id, content, button) {
    try {
      const whole = await getJson(`/dead-letters/${id}?payload=true`);
      const shown = ([name, value]) => [h("h3", {}, name), h("pre", { tabindex: "0" }, JSON.stringify(value, null, 2))];
      const parts = [["Fields, as they entered the node", whole.fields], ["As its source handed it in", whole.accepted], ["Session, priority, meta", { session: whole.session, priority: whole.priority, meta: whole.meta }]];
      content.replaceChildren(...parts.flatMap(shown));
      button.hidden = true;
    } catch (error) {
      content.replaceChildren(h("p", { class: "bad" }, error.message));
    }
  }

  /** Say which letters are meant: those that were chosen, or all that match the filters. */
  #selection() {
    if (this.#chosen.size) return { ids: [...this.#chosen] };
    const filters = Object.fromEntries(Object.entries(this.#fields).map(([name, field]) => [name, field.value.trim()]).filter(([, value]) => value));
    return Object.keys(filters).length ? filters : { all: true };
  }

  get #meant() {
    return format.plural(this.#chosen.size || this.#total, "dead letter");
  }

  async #askReplay() {
    const fromStart = h("input", { type: "checkbox", id: "from-start" });
    const discard = h("input", { type: "checkbox", id: "discard-answers" });
    const sure = await ask(
      `Replay ${this.#meant}?`,
      "Replay",
      "strong",
      h("p", {}, "Their records go into the running pipeline again, where they failed. A letter is removed once its record has come through."),
      h("p", {}, h("label", { for: "from-start" }, fromStart, " from the start: as their source handed them in")),
      this.#answers ? h("p", {}, h("label", { for: "discard-answers" }, discard, " callers who waited for an answer are gone: do without it")) : null,
    );
    if (sure) await this.#change("/dead-letters/replay", { ...this.#selection(), from_start: fromStart.checked, discard_answers: discard.checked }, ({ replay, refused }) => {
      const left = refused.map(({ reason, count }) => `${format.plural(count, "letter")} left: ${reason}`);
      return [`${format.plural(replay.total, "record")} to be replayed`, ...left].join("; ");
    });
  }

  async #askPurge() {
    const words = h("p", {}, "They are removed for good, with their records. This can’t be undone.");
    if (await ask(`Purge ${this.#meant}?`, "Purge", "danger", words))
      await this.#change("/dead-letters/purge", this.#selection(), ({ purged }) => `${format.plural(purged, "dead letter")} purged`);
  }

  async #change(path, body, words) {
    let said;
    try {
      said = words(await post(path, body));
    } catch (error) {
      said = error.message;
    }
    this.#chosen.clear();
    await this.#read(false);
    this.#count(said);
  }

  #showProgress(replay) {
    this.#progress.hidden = !replay;
    if (!replay) return;
    const ended = Object.entries(replay.outcomes).map(([name, number]) => `${format.count(number)} ${name}`);
    const gone = replay.gone ? [`${format.count(replay.gone)} gone by then`] : [];
    const words = [`${format.count(replay.handed_in)} of ${format.count(replay.total)} sent in`, ...ended, ...gone];
    say(this.#progress, `Replay ${replay.number} ${replay.state === "over" ? "is over" : "is under way"}: ${words.join(", ")}${replay.error ? `; ${replay.error}` : ""}.`);
  }
}
