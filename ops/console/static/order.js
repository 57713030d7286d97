// The page of one order: its rows and its sagas.

import { byId, element, get, repeat, showError } from "./api.js";
import { between, outcomeBadge, sagaLink, showRows, time } from "./display.js";

const RUNNING_MS = 1000;
const FAILED_MS = 5000;

repeat(async () => {
  try {
    const order = await get("/api/order", { id: byId("order").textContent });
    showError(null);
    showRows(order.rows, byId("rows"), byId("no-rows"));
    byId("sagas").replaceChildren(...order.sagas.map(sagaItem));
    return order.sagas.some((saga) => saga.execution?.outcome === "running") ? RUNNING_MS : null;
  } catch (error) {
    showError(error.message);
    return FAILED_MS;
  }
});

function sagaItem({ saga_id, execution, path }) {
  const head = element("p", { className: "row-head" }, sagaLink(saga_id), " ");
  if (!execution) {
    const text = saga_id.startsWith("arn:") ? "Step Functions no longer has this execution." : "";
    return element("li", {}, head, element("p", { className: "help", text }));
  }
  head.append(outcomeBadge(execution.outcome));
  const times = element("p", { className: "help" }, "Started ", time(execution.started_at));
  if (execution.stopped_at) times.append(`, took ${between(execution.started_at, execution.stopped_at)}`);
  const parts = [head, times, element("p", { text: path.map((step) => step.state).join(" → ") })];
  if (execution.cause) parts.push(element("p", { className: "cause", text: execution.cause }));
  return element("li", {}, ...parts);
}
