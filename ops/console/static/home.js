// What is stuck, and the list.

import { ask, element, noun, repeat, show_error } from "./api.js";
import { ask_to_resume } from "./resume.js";
import { between, execution_link, order_link, outcome_badge, time } from "./words.js";

const LIST_MS = 2000;
const FAILED_MS = 5000;
// Rarely: SQS counts every look at a message, and takes one away that was looked at 1,000 times.
const STUCK_MS = 300_000;

const get = (id) => document.getElementById(id);

// The stuck sagas

async function look(again) {
  try {
    const found = await ask("/api/stuck", again ? { again: "yes" } : {});
    show_stuck(found);
  } catch (error) {
    get("stuck-summary").textContent = `What is stuck cannot be told: ${error.message}`;
  }
  return STUCK_MS;
}

function show_stuck({ stuck, messages }) {
  const count = stuck.length === 1 ? "1 saga is stuck." : `${stuck.length} sagas are stuck.`;
  const more = messages.complete ? "" : " The queue holds more than could be read.";
  get("stuck-summary").textContent = (stuck.length ? count : "No saga is stuck.") + more;
  get("stuck-summary").closest("section").classList.toggle("alarm", stuck.length > 0);
  get("stuck").replaceChildren(...stuck.map(stuck_saga));
}

function stuck_saga(saga) {
  const button = element("button", { type: "button", text: "Resume …", "aria-label": `Resume ${saga.name} …` });
  button.addEventListener("click", () =>
    ask_to_resume(
      { ...saga, arn: saga.execution_arn, can_tell_redrive: saga.redrive_status !== null },
      () => location.assign(execution_link(saga.name).href),
    ),
  );
  const head = element("p", { className: "row-head" }, outcome_badge("stuck"), " ", execution_link(saga.name));
  if (saga.order_id) head.append(` of ${noun} `, order_link(saga.order_id));
  const where = element("p", {}, saga.state ? `Stopped in ${saga.state}, ` : "Stopped before its first state, ", time(saga.stopped_at), ".");
  const why = element("p", { className: "because", text: saga.cause ?? saga.error ?? "No cause was given." });
  return element("li", { "data-execution": saga.name }, head, where, why, button);
}

get("look-again").addEventListener("click", () => look(true));
repeat(() => look(false));

// The list

const pages = [null];

const list_again = repeat(async () => {
  const at = pages.length;
  const status = get("status").value;
  try {
    const page = await ask("/api/executions", { status, token: pages.at(-1) });
    if (at !== pages.length || status !== get("status").value) return LIST_MS;
    show_error(null);
    show_page(page);
  } catch (error) {
    show_error(error.message);
    return FAILED_MS;
  }
  return pages.length === 1 ? LIST_MS : null;
});

function show_page({ executions, next_token }) {
  const focused = document.activeElement?.closest("#executions") ? document.activeElement.getAttribute("href") : null;
  get("executions").replaceChildren(...executions.map(execution_row));
  if (focused) get("executions").querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  get("list-summary").textContent = executions.length ? "" : "No executions.";
  get("page").textContent = `Page ${pages.length}`;
  get("newer").disabled = pages.length === 1;
  get("older").disabled = !next_token;
  get("older").onclick = () => turn(() => pages.push(next_token));
}

function execution_row(execution) {
  const cell = (label, ...content) => element("td", { "data-label": label }, ...content);
  return element(
    "tr",
    { "data-execution": execution.name },
    element("th", { scope: "row", "data-label": noun[0].toUpperCase() + noun.slice(1) }, execution.order_id ? order_link(execution.order_id) : "not known"),
    cell("Outcome", outcome_badge(execution.outcome)),
    cell("Started", time(execution.started_at)),
    cell("Took", between(execution.started_at, execution.stopped_at) || "–"),
    cell("Execution", execution_link(execution.name)),
  );
}

function turn(change) {
  change();
  list_again();
}

get("newer").onclick = () => turn(() => pages.pop());
get("status").addEventListener("change", () => turn(() => pages.splice(1)));
get("search").addEventListener("submit", (event) => {
  event.preventDefault();
  if (get("order-id").value) location.assign(order_link(get("order-id").value).href);
});
