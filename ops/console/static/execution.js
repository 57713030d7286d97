// The page of one execution, live.

import { byId, element, get, repeat, showError } from "./api.js";
import { badge, between, duration, orderLink, outcomeBadge, showRows, time } from "./display.js";
import { Graph } from "./graph.js";
import { askToResume } from "./resume.js";

const RUNNING_MS = 400;
const STUCK_MS = 5000;
const FAILED_MS = 3000;

const name = byId("name").textContent;
const narrow = matchMedia("(max-width: 50rem)");
const graph = new Graph(byId("graph"));
let last = null;
let announced = "";

const refresh = repeat(async () => {
  try {
    last = await get("/api/execution", { name });
    showError(null);
    show();
  } catch (error) {
    showError(error.message);
    return FAILED_MS;
  }
  return { running: RUNNING_MS, stuck: STUCK_MS }[last.execution.outcome] ?? null;
});
narrow.addEventListener("change", draw);
byId("resume-button").addEventListener("click", () => {
  const { execution_arn: arn, order_id: orderId } = last.execution;
  askToResume({ name, arn, state: last.stopped_in.join(" and "), orderId, reportsRedrive: last.reports_redrive }, refresh);
});

function show() {
  const { execution, rows } = last;
  document.title = document.title.replace(/^.*? · /, `${execution.outcome.replace("_", " ")}: ${name} · `);
  outcomeBadge(execution.outcome, byId("outcome"));
  byId("meaning").textContent = last.meaning;
  byId("cause").textContent = execution.cause ?? execution.error ?? "";
  byId("cause").hidden = !byId("cause").textContent;
  const took = between(execution.started_at, execution.stopped_at);
  byId("times").replaceChildren("Started ", time(execution.started_at), took ? `, took ${took}. ` : ". ", redrives(execution));
  byId("resume-button").hidden = execution.outcome !== "stuck";
  const link = byId("order-link");
  link.hidden = !execution.order_id;
  if (execution.order_id && link.textContent !== execution.order_id) {
    link.textContent = execution.order_id;
    link.href = orderLink(execution.order_id).href;
  }
  showRows(rows, byId("rows"), byId("no-rows"));
  showTimeline();
  draw();
  announce();
}

function redrives({ redrive_count: count }) {
  const until = last.redrivable_until ? `Can be resumed until ${new Date(last.redrivable_until).toLocaleString()}.` : "";
  return `${count ? `Resumed ${count === 1 ? "once" : `${count} times`}. ` : ""}${until}`;
}

function draw() {
  if (!last) return;
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

function showTimeline() {
  const states = new Map(last.states.map((state) => [state.state, state]));
  const items = last.path.map((step, index) => {
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
