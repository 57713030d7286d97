// The page of one execution, live.

import { byId, element, get, repeat, showError } from "./api.js";
import { badge, between, duration, elapsed, orderLink, outcomeBadge, showIfChanged, showRows, time, timeText } from "./display.js";
import { Graph } from "./graph.js";
import { askToAccept, askToCancel, askToReject, askToResume, askToStop } from "./dialog.js";

const RUNNING_MS = 400;
// An answer may take days.
const WAITING_MS = 2000;
const STUCK_MS = 5000;
const FAILED_MS = 3000;
const FRAME_MS = 900;

const name = byId("name").textContent;
const narrow = matchMedia("(max-width: 50rem)");
const graph = new Graph(byId("graph"));
let last = null;
let announced = "";
let replays = false;

const refresh = repeat(async () => {
  try {
    last = await get("/api/execution", { name });
    showError(null);
    show();
  } catch (error) {
    showError(error.message);
    return FAILED_MS;
  }
  if (last.waits.length) return WAITING_MS;
  return { running: RUNNING_MS, stuck: STUCK_MS }[last.execution.outcome] ?? null;
});
narrow.addEventListener("change", draw);
byId("resume-button").addEventListener("click", () => {
  const { execution_arn: arn, order_id: orderId } = last.execution;
  askToResume({ name, arn, state: last.stopped_in.join(" and "), orderId }, refresh);
});
byId("cancel-button").addEventListener("click", () => askToCancel({ name, arn: last.execution.execution_arn }, refresh));
byId("stop-button").addEventListener("click", () => askToStop({ name, arn: last.execution.execution_arn }, refresh));
byId("replay-button").addEventListener("click", () => replay().catch((error) => showError(error.message)));
byId("history").addEventListener("toggle", () => showEvents().catch((error) => showError(error.message)));

function show() {
  const { execution, rows } = last;
  document.title = document.title.replace(/^.*? · /, `${execution.outcome.replace("_", " ")}: ${name} · `);
  outcomeBadge(execution.outcome, byId("outcome"));
  byId("meaning").textContent = last.meaning;
  byId("cause").textContent = execution.cause ?? execution.error ?? "";
  byId("cause").hidden = !byId("cause").textContent;
  byId("times").replaceChildren("Started ", time(execution.started_at), `, ${elapsed(execution)}. `, redrives(execution));
  byId("resume-button").hidden = execution.outcome !== "stuck" || last.closed !== null;
  byId("cancel-button").hidden = execution.outcome !== "running";
  byId("stop-button").hidden = execution.outcome !== "running";
  byId("replay-button").hidden = execution.outcome === "running" || replays;
  const links = Object.entries(last.links).flatMap(([text, href]) => [" ", element("a", { text, href, rel: "noreferrer" })]);
  byId("links").replaceChildren(...links);
  const link = byId("order-link");
  link.hidden = !execution.order_id;
  if (execution.order_id && link.textContent !== execution.order_id) {
    link.textContent = execution.order_id;
    link.href = orderLink(execution.order_id).href;
  }
  showRows(rows, byId("rows"), byId("no-rows"));
  showWaits(last);
  if (replays) return;
  showTimeline(last.states, last.path);
  draw();
  announce();
}

function showWaits({ waits, rejectable }) {
  byId("waits").hidden = waits.length === 0;
  const items = () => waits.map((wait) => waitItem(wait, rejectable.includes(wait.state)));
  showIfChanged(byId("waits-list"), waits, () => byId("waits-list").replaceChildren(...items()));
  for (const place of document.querySelectorAll("[data-since]")) {
    place.textContent = between(place.dataset.since, new Date().toISOString());
  }
}

function waitItem({ state, entity, status, since, until, heartbeat_seconds: heartbeat }, isRejectable) {
  const saga = { name, arn: last.execution.execution_arn, state };
  const accept = element("button", { type: "button", text: "Accept …", "data-answer": "accept" });
  const reject = element("button", { type: "button", text: "Reject …", className: "plain", "data-answer": "reject" });
  reject.hidden = !isRejectable;
  accept.addEventListener("click", () => askToAccept(saga, refresh));
  reject.addEventListener("click", () => askToReject(saga, refresh));
  const times = ["Since ", time(since), ", for ", element("span", { "data-since": since }), ". Times out ", time(until), "."];
  const sign = heartbeat ? ` Expects a sign of life every ${duration(heartbeat)}.` : "";
  return element(
    "li",
    { "data-state": state },
    element("p", {}, element("strong", { text: state }), `: row ${entity} is `, element("strong", { text: status }), "."),
    element("p", { className: "help" }, ...times, sign),
    element("p", { className: "actions" }, accept, reject),
  );
}

// Shows the execution again, state by state, slowly enough to watch.
async function replay() {
  const { frames } = await get("/api/replay", { name });
  replays = byId("replay-button").hidden = true;
  try {
    for (const [index, { states, graphs }] of frames.entries()) {
      showTimeline(states, last.path.slice(0, index + 1));
      await graph.show(graphs[narrow.matches ? "TD" : "LR"]);
      await new Promise((resolve) => setTimeout(resolve, FRAME_MS));
    }
  } finally {
    replays = false;
    show();
  }
}

async function showEvents() {
  if (!byId("history").open) return;
  const { events } = await get("/api/history", { name });
  const cell = (label, ...content) => element("td", { "data-label": label }, ...content);
  const rows = events.map((event) =>
    element(
      "tr",
      {},
      element("th", { scope: "row", "data-label": "Event", text: event.id }),
      cell("After", String(event.previous ?? "")),
      cell("Time", time(event.at)),
      cell("Type", event.type),
      cell("State", event.state ?? ""),
    ),
  );
  byId("events").replaceChildren(...rows);
}

function redrives({ redrive_count: count }) {
  const until = last.redrivable_until ? `Can be resumed until ${timeText(last.redrivable_until)}.` : "";
  return `${count ? `Resumed ${count === 1 ? "once" : `${count} times`}. ` : ""}${until}`;
}

function draw() {
  if (!last || replays) return;
  const entered = last.states.filter((state) => state.number).map((state) => `${state.state} ${state.word}`);
  byId("graph").setAttribute("aria-label", `The graph of the state machine. ${entered.join(", ") || "No state entered"}.`);
  graph.show(last.graphs[narrow.matches ? "TD" : "LR"]).catch((error) => showError(error.message));
}

// Announces a change to screen readers.
function announce() {
  const [newest] = last.states.filter((state) => state.number).sort((a, b) => b.number - a.number);
  const text = newest ? `${newest.state} ${newest.word}. ${last.execution.outcome === "running" ? "" : last.meaning}` : "";
  if (text !== announced) byId("live").textContent = announced = text;
}

function showTimeline(states, path) {
  states = new Map(states.map((state) => [state.state, state]));
  const items = path.map((step, index) => {
    const { status, icon, word } = states.get(step.state) ?? {};
    const took = element("span", { className: "help", text: step.seconds === null ? "running" : duration(step.seconds) });
    const group = step.within ? ` in ${step.within} ` : " ";
    const state = element("strong", { text: step.state });
    const head = element("p", { className: "step-head" }, badge(status, icon, word), " ", state, group, took);
    return element("li", { "data-state": step.state, "data-number": index + 1 }, head, ...attempts(step));
  });
  byId("timeline").replaceChildren(...items);
}

// Returns the errors of a step. An error that repeats is one line.
function attempts(step) {
  const lines = [];
  for (const attempt of step.attempts.filter((one) => one.error || one.cause)) {
    const text = [attempt.error, attempt.cause].filter(Boolean).join(": ");
    if (lines.at(-1)?.text === text) lines.at(-1).count += 1;
    else lines.push({ text, count: 1 });
  }
  const shown = lines.map(({ text, count }) => element("p", { className: "cause", text: count > 1 ? `${count} times ${text}` : text }));
  if (step.attempts.length > 1) {
    const { started_at: start, ended_at: end } = step.attempts.at(-1);
    const text = `${step.attempts.length} attempts; the last ${end ? `took ${between(start, end)}` : "has not ended"}`;
    shown.push(element("p", { className: "help", text }));
  }
  return shown;
}
