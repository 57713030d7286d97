// Words, icons and times as people read them.

import { element } from "./api.js";

const OUTCOMES = {
  running: ["▶", "running"],
  fulfilled: ["✓", "fulfilled"],
  rolled_back: ["↶", "rolled back"],
  stuck: ["⚠", "stuck"],
};

export function outcome_badge(outcome, place = element("span")) {
  const [icon, word] = OUTCOMES[outcome];
  place.className = `badge ${outcome}`;
  place.replaceChildren(element("span", { text: icon, "aria-hidden": "true" }), ` ${word}`);
  return place;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export function between(started, stopped) {
  return stopped ? duration((Date.parse(stopped) - Date.parse(started)) / 1000) : "";
}

export function time(moment) {
  if (!moment) return element("span", { text: "not known" });
  const at = new Date(moment);
  const today = at.toDateString() === new Date().toDateString();
  const text = today ? at.toLocaleTimeString() : at.toLocaleString();
  return element("time", { text, datetime: moment, title: moment });
}

export function order_link(order_id) {
  return element("a", { text: order_id, href: `/order?${new URLSearchParams({ id: order_id })}` });
}

export function execution_link(name) {
  return element("a", { text: name, href: `/execution?${new URLSearchParams({ name })}` });
}

// A saga by its id: an execution's ARN, or `direct` for a function that was called directly.
export function saga_link(saga_id) {
  if (!saga_id.startsWith("arn:")) return element("span", { text: "a direct call of a function" });
  return execution_link(saga_id.split(":").at(-1));
}

// The rows of an order with their history, into the list and with it the note that there are none.
export function show_rows(rows, list, none) {
  none.hidden = rows.length > 0;
  list.replaceChildren(
    ...rows.map((row) =>
      element(
        "li",
        { "data-entity": row.entity },
        element("p", { className: "row-head" }, element("strong", { text: row.entity }), " ", row_badge(row)),
        element(
          "ol",
          { className: "history" },
          ...row.history.map((change) =>
            element("li", {}, element("strong", { text: change.status }), " ", time(change.at), " by ", saga_link(change.saga_id)),
          ),
        ),
      ),
    ),
  );
}

function row_badge({ status, undone }) {
  // Which rows are undone is known of the order saga alone.
  if (undone === null) return element("span", { className: "badge", text: status });
  const icon = element("span", { text: undone ? "↶ " : "✓ ", "aria-hidden": "true" });
  return element("span", { className: `badge ${undone ? "rolled_back" : "fulfilled"}` }, icon, status);
}
