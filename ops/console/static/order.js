// One order: its rows, and its sagas.

import { ask, element, repeat, show_error } from "./api.js";
import { between, outcome_badge, saga_link, show_rows, time } from "./words.js";

const SECOND = 1000;
const get = (id) => document.getElementById(id);

repeat(async () => {
  try {
    const order = await ask("/api/order", { id: get("order").textContent });
    show_error(null);
    show_rows(order.rows, get("rows"), get("no-rows"));
    get("sagas").replaceChildren(...order.sagas.map(saga));
    return order.sagas.some((one) => one.execution?.outcome === "running") ? SECOND : null;
  } catch (error) {
    show_error(error.message);
    return 5 * SECOND;
  }
});

function saga({ saga_id, execution, path }) {
  const head = element("p", { className: "row-head" }, saga_link(saga_id), " ");
  if (!execution) {
    const why = saga_id.startsWith("arn:") ? "Step Functions knows it no longer." : "";
    return element("li", {}, head, element("p", { className: "help", text: why }));
  }
  head.append(outcome_badge(execution.outcome));
  const times = element("p", { className: "help" }, "Started ", time(execution.started_at));
  if (execution.stopped_at) times.append(`, took ${between(execution.started_at, execution.stopped_at)}`);
  const parts = [head, times, element("p", { text: path.map((step) => step.state).join(" → ") })];
  if (execution.cause) parts.push(element("p", { className: "because", text: execution.cause }));
  return element("li", {}, ...parts);
}
