// The home page: the stuck sagas (stuck.js), the form (start.js), and the list of executions.

import { byId, element, get, noun, repeat, showError } from "./api.js";
import { elapsed, executionLink, orderLink, outcomeBadge, showIfChanged, time } from "./display.js";
import { showGroups } from "./stuck.js";

const LIST_MS = 2000;
const FAILED_MS = 5000;
const STUCK_MS = 10_000;

// The stuck sagas

async function readStuck(refresh) {
  try {
    showStuck(await get("/api/stuck", refresh ? { refresh: "yes" } : {}));
  } catch (error) {
    byId("stuck-summary").textContent = `The stuck sagas cannot be read: ${error.message}`;
  }
  return STUCK_MS;
}

function showStuck({ stuck, entries: { undelivered } }) {
  // A report can be lost, so it is not certain that no saga is stuck.
  const count = { 0: "No reported saga is stuck.", 1: "1 saga is stuck." }[stuck.length] ?? `${stuck.length} sagas are stuck.`;
  const lost =
    undelivered === null ? "Whether reports are undelivered cannot be read" : `About ${undelivered} undelivered reports`;
  const scan = "`python -m ops stuck --scan` finds all stuck sagas.";
  byId("stuck-summary").textContent = undelivered === 0 ? count : `${count} ${lost}: ${scan}`;
  byId("stuck-summary").closest("section").classList.toggle("alarm", stuck.length + undelivered > 0);
  showGroups(stuck, byId("stuck"), refreshStuck);
}

const refreshStuck = () => readStuck(true);
byId("refresh").addEventListener("click", refreshStuck);
repeat(() => readStuck(false));

// The list of executions

const FILTERED_MS = 10_000;
const tokens = [null]; // of the pages up to the present one
const filters = [...document.querySelectorAll("[data-filter]")];

// The filters are in the address, so that a link keeps them.
const address = new URLSearchParams(location.search);
for (const filter of filters) filter.value = address.get(filter.name) ?? "";
byId("more-filters").open = filters.some((filter) => filter.name !== "outcome" && filter.value);

function chosen() {
  return Object.fromEntries(filters.filter(({ value }) => value).map(({ name, value }) => [name, value]));
}

const refreshList = repeat(async () => {
  const page = tokens.length;
  const asked = new URLSearchParams(chosen()).toString();
  const isFiltered = asked !== "";
  try {
    const found = await get("/api/executions", isFiltered ? chosen() : { token: tokens.at(-1) });
    if (page !== tokens.length || asked !== new URLSearchParams(chosen()).toString()) return LIST_MS;
    showError(null);
    showPage(found);
  } catch (error) {
    showError(error.message);
    return FAILED_MS;
  }
  if (isFiltered) return FILTERED_MS;
  return tokens.length === 1 ? LIST_MS : null;
});

function showPage({ executions, next_token }) {
  const focused = document.activeElement?.closest("#executions") ? document.activeElement.getAttribute("href") : null;
  // A running execution shows its age.
  const shown = [executions, executions.map(elapsed)];
  showIfChanged(byId("executions"), shown, () => byId("executions").replaceChildren(...executions.map(executionRow)));
  if (focused) byId("executions").querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  byId("list-summary").textContent = executions.length ? "" : "No executions.";
  const page = tokens.length;
  byId("page").textContent = `Page ${page}`;
  byId("newer").disabled = page === 1;
  byId("older").disabled = !next_token;
  // From the page that is shown, so that a double click turns one page.
  byId("newer").onclick = () => turn(() => tokens.splice(page - 1));
  byId("older").onclick = () => turn(() => tokens.splice(page, Infinity, next_token));
}

function executionRow(execution) {
  const cell = (label, ...content) => element("td", { "data-label": label }, ...content);
  const label = noun[0].toUpperCase() + noun.slice(1);
  return element(
    "tr",
    { "data-execution": execution.name },
    element("th", { scope: "row", "data-label": label }, execution.order_id ? orderLink(execution.order_id) : "unknown"),
    cell("Outcome", outcomeBadge(execution.outcome)),
    cell("Started", time(execution.started_at)),
    cell("Took", elapsed(execution).replace("took ", "")),
    cell("Execution", executionLink(execution.name)),
  );
}

function turn(change) {
  change();
  refreshList();
}

for (const filter of filters) {
  filter.addEventListener("change", () => {
    const asked = new URLSearchParams(chosen()).toString();
    history.replaceState(null, "", asked ? `?${asked}` : location.pathname);
    turn(() => tokens.splice(1));
  });
}
byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  if (byId("order-id").value) location.assign(orderLink(byId("order-id").value).href);
});
