// What is stuck, the form, and the list.

import { ask, element, repeat, show_error, tell } from "./api.js";
import { ask_to_resume } from "./resume.js";
import { between, execution_link, order_link, outcome_badge, time } from "./words.js";

const LIST_MS = 2000;
const FAILED_MS = 5000;
// Rarely: SQS counts every look at a message, and takes one away that was looked at 1,000 times.
const STUCK_MS = 300_000;
const CHECK_MS = 250;

const get = (id) => document.getElementById(id);
const form = get("start");
let preset = null;
let named = false;

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
  if (saga.order_id) head.append(" of order ", order_link(saga.order_id));
  const where = element("p", {}, saga.state ? `Stopped in ${saga.state}, ` : "Stopped before its first state, ", time(saga.stopped_at), ".");
  const why = element("p", { className: "because", text: saga.cause ?? saga.error ?? "No cause was given." });
  return element("li", { "data-execution": saga.name }, head, where, why, button);
}

get("look-again").addEventListener("click", () => look(true));
repeat(() => look(false));

// The form

for (const pair of document.querySelectorAll(".pair")) {
  const button = pair.querySelector(".preset");
  button.addEventListener("click", () => choose(button));
  pair.querySelector(".run").addEventListener("click", () => {
    choose(button);
    form.requestSubmit();
  });
}

function choose(button) {
  preset = JSON.parse(button.dataset.preset);
  for (const one of document.querySelectorAll(".preset")) one.setAttribute("aria-pressed", String(one === button));
  for (const input of form.querySelectorAll('[id^="field-"]')) input.value = preset.fields[input.name] ?? "";
  form.elements.more.value = "";
  get("use-card").hidden = !preset.has_card;
  get("use-preset-card").checked = preset.has_card;
  named = false;
  name_it();
  check();
}

function name_it() {
  if (!named) form.elements.name.value = form.elements.order_id.value.replace(/[^A-Za-z0-9_.-]/g, "-").slice(0, 80);
}

function filled() {
  const fields = {};
  for (const input of form.querySelectorAll('[id^="field-"]')) fields[input.name] = input.value;
  const card_of = preset?.has_card && get("use-preset-card").checked ? preset.name : null;
  return { fields, more: form.elements.more.value, card_of, name: form.elements.name.value };
}

let checking = 0;
async function check() {
  const number = (checking += 1);
  await new Promise((resolve) => setTimeout(resolve, CHECK_MS));
  if (number !== checking) return;
  let verdict;
  try {
    verdict = in_words(await tell("/api/check", filled()));
  } catch (error) {
    verdict = ["bad", `✗ ${error.message}`, "Start"];
  }
  if (number !== checking) return;
  const [kind, text, label] = verdict;
  get("verdict").className = `verdict ${kind}`;
  if (get("verdict").textContent !== text) get("verdict").textContent = text;
  get("submit").textContent = label;
}

function in_words({ step, reason, held_by }) {
  if (step) return ["warn", `⚠ ${step} will refuse this: ${reason}. What is done before will be undone.`, "Start anyway"];
  if (held_by) {
    const holder = held_by.split(":").at(-1);
    return ["warn", `⚠ The order is held by ${holder}: CreateOrder will refuse this with OrderConflict and change nothing of it.`, "Start anyway"];
  }
  return ["good", "✓ Every step will accept this.", "Start"];
}

form.addEventListener("input", (event) => {
  if (event.target === form.elements.name) named = form.elements.name.value !== "";
  else name_it();
  check();
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  get("submit").disabled = true;
  try {
    const started = await tell("/api/start", filled());
    form.elements.card_no.value = "";
    location.assign(execution_link(started.name).href);
  } catch (error) {
    checking += 1;
    get("verdict").className = "verdict bad";
    get("verdict").textContent = `✗ ${error.message} `;
    if (error.answer?.existing) get("verdict").append(execution_link(error.answer.existing));
  } finally {
    get("submit").disabled = false;
  }
});
choose(document.querySelector(".preset"));

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
    element("th", { scope: "row", "data-label": "Order" }, execution.order_id ? order_link(execution.order_id) : "not known"),
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
