// The page: asks for the token, reads /status each second, and says when nobody answers.

import { Refused, dropToken, get, getJson, keepToken, takeToken } from "./api.js";
import { Board } from "./board.js";
import { byId, say } from "./dom.js";
import * as format from "./format.js";
import { Graph } from "./graph.js";
import { Letters } from "./letters.js";
import { offerThemes } from "./theme.js";

const EVERY_MS = 1000;
const HIDDEN_MS = 10_000;
const SLOWEST_MS = 30_000;

const graph = new Graph(byId("graph"));
const board = new Board(graph);
const letters = new Letters();
let plan = null;
let run = null; // which plan of which process was read last
let failures = 0;
let timer = 0;
let flow = null;

async function read() {
  clearTimeout(timer);
  try {
    const status = await getJson("/status");
    if (run !== nameOf(status)) await begin(status);
    else if (flow !== Graph.flow) await draw();
    failures = 0;
    board.show(status, plan);
    letters.show(status);
    notice(reasons(status), "");
    document.documentElement.classList.remove("stale");
  } catch (error) {
    if (error instanceof Refused && error.status === 401) return askForToken("The listener does not know this token: the pipeline may have been started again.");
    failed(error);
  }
  timer = setTimeout(read, wait());
}

/** Read what does not change while a run lasts. */
async function begin(status) {
  plan = await getJson("/graph");
  byId("entrance").hidden = true;
  byId("board").hidden = byId("sections").hidden = false;
  await draw();
  board.clear();
  letters.begin(plan);
  run = nameOf(status);
}

function nameOf(status) {
  return `${status.pid} ${status.started} ${status.replaced ?? 0}`;
}

async function draw() {
  flow = Graph.flow;
  graph.load(await (await get(`/graph?format=svg&live=true&flow=${flow}`, "image/svg+xml")).text());
}

function wait() {
  if (failures) return Math.min(EVERY_MS * 2 ** (failures - 1), SLOWEST_MS);
  return document.hidden ? HIDDEN_MS : EVERY_MS;
}

function failed(error) {
  failures += 1;
  document.documentElement.classList.add("stale");
  const seconds = format.plural(Math.round(wait() / 1000), "second");
  const what = error instanceof Refused ? `The listener refuses: ${error.message}.` : "Connection lost: the pipeline does not answer.";
  notice(`${what} Trying again every ${seconds}.`, "bad");
  const state = byId("state");
  say(state, "not connected");
  state.className = "state bad";
}

function reasons(status) {
  if (status.ready || status.state === "starting") return "";
  if (status.state === "draining") return `Draining: ${status.stopped_by}. No more records are taken in.`;
  return `Not ready: ${status.reasons.map(({ what, reason }) => `${what}: ${reason}`).join("; ")}.`;
}

function notice(text, tone) {
  say(byId("notice"), text);
  byId("notice").className = `notice ${tone}`;
}

function askForToken(text = "") {
  dropToken();
  notice(text, "");
  byId("board").hidden = byId("sections").hidden = true;
  byId("entrance").hidden = false;
  byId("token").focus();
}

byId("entrance").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken(byId("token").value.trim());
  byId("token").value = "";
  read();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !byId("board").hidden) read();
});
addEventListener("hashchange", () => {
  if (location.hash.startsWith("#token=") && takeToken()) read();
});

offerThemes(byId("theme"));
if (takeToken()) read();
else askForToken();
