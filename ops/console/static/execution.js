// One execution, live.

import { ask, element, repeat, show_error } from "./api.js";
import { Graph } from "./graph.js";
import { ask_to_resume } from "./resume.js";
import { between, duration, order_link, outcome_badge, show_rows, time } from "./words.js";

const RUNNING_MS = 400;
const STUCK_MS = 5000;
const FAILED_MS = 3000;

const get = (id) => document.getElementById(id);
const name = get("name").textContent;
const narrow = matchMedia("(max-width: 50rem)");
const graph = new Graph(get("graph"));
let last = null;
let said = "";

const again = repeat(async () => {
  try {
    last = await ask("/api/execution", { name });
    show_error(null);
    show();
  } catch (error) {
    show_error(error.message);
    return FAILED_MS;
  }
  return { running: RUNNING_MS, stuck: STUCK_MS }[last.execution.outcome] ?? null;
});
narrow.addEventListener("change", draw);
get("resume-button").addEventListener("click", () => {
  ask_to_resume(
    {
      name,
      arn: last.execution.execution_arn,
      state: last.stopped_in.join(" and "),
      order_id: last.execution.order_id,
      can_tell_redrive: last.can_tell_redrive,
    },
    again,
  );
});

function show() {
  const { execution, rows } = last;
  document.title = document.title.replace(/^.*? · /, `${execution.outcome.replace("_", " ")}: ${name} · `);
  outcome_badge(execution.outcome, get("outcome"));
  get("meaning").textContent = last.meaning;
  get("because").hidden = !execution.cause && !execution.error;
  get("because").textContent = execution.cause ?? execution.error ?? "";
  const took = between(execution.started_at, execution.stopped_at);
  get("times").replaceChildren("Started ", time(execution.started_at), took ? `, took ${took}. ` : ". ", redriven(execution));
  get("resume-button").hidden = execution.outcome !== "stuck";
  get("order-link").hidden = !execution.order_id;
  if (execution.order_id && get("order-link").textContent !== execution.order_id) {
    const link = order_link(execution.order_id);
    get("order-link").textContent = execution.order_id;
    get("order-link").href = link.href;
  }
  show_rows(rows, get("rows"), get("no-rows"));
  show_timeline();
  draw();
  say();
}

function redriven(execution) {
  const until = last.redrivable_until ? `It can be resumed until ${new Date(last.redrivable_until).toLocaleString()}.` : "";
  return `${execution.redrive_count ? `Resumed ${execution.redrive_count} times. ` : ""}${until}`;
}

function draw() {
  if (!last) return;
  const words = last.states.filter((state) => state.number).map((state) => `${state.state} ${state.word}`);
  get("graph").setAttribute("aria-label", `The graph of the state machine. ${words.join(", ") || "Nothing has begun"}.`);
  graph.show(last.graphs[narrow.matches ? "TD" : "LR"]).catch((error) => show_error(error.message));
}

// What has changed since the last time, for those who listen.
function say() {
  const words = last.states.filter((state) => state.number).sort((a, b) => a.number - b.number);
  const now = words.length ? `${words.at(-1).state} ${words.at(-1).word}. ${last.execution.outcome === "running" ? "" : last.meaning}` : "";
  if (now !== said) get("live").textContent = said = now;
}

function show_timeline() {
  const states = new Map(last.states.map((state) => [state.state, state]));
  const items = last.path.map((step, index) => {
    const state = { ...states.get(step.state) };
    const head = element(
      "p",
      { className: "step-head" },
      element("span", { className: `badge ${state.status}` }, element("span", { text: `${state.icon} `, "aria-hidden": "true" }), state.word),
      " ",
      element("strong", { text: step.state }),
      step.within ? ` in ${step.within} ` : " ",
      element("span", { className: "help", text: step.seconds === null ? "under way" : duration(step.seconds) }),
    );
    return element("li", { "data-state": step.state, "data-number": index + 1 }, head, ...attempts(step));
  });
  get("timeline").replaceChildren(...items);
}

// What went wrong; the same error many times over is one line.
function attempts(step) {
  const lines = [];
  for (const attempt of step.attempts.filter((one) => one.error || one.cause)) {
    const text = [attempt.error, attempt.cause].filter(Boolean).join(": ");
    if (lines.at(-1)?.text === text) lines.at(-1).count += 1;
    else lines.push({ text, count: 1 });
  }
  const shown = lines.map(({ text, count }) => element("p", { className: "because", text: count > 1 ? `${count} times ${text}` : text }));
  const attempt = step.attempts.at(-1);
  if (step.attempts.length > 1) shown.push(element("p", { className: "help", text: `${step.attempts.length} attempts; the last took ${between(attempt.started_at, attempt.ended_at) || "no end yet"}` }));
  return shown;
}
