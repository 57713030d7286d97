// Outcomes, times, links and rows as people read them.

import { element } from "./api.js";

const ICONS = { running: "▶", fulfilled: "✓", rolled_back: "↶", stuck: "⚠" };

export function badge(className, icon, text, place = element("span")) {
  place.className = `badge ${className}`;
  place.replaceChildren(element("span", { text: `${icon} `, "aria-hidden": "true" }), text);
  return place;
}

export function outcomeBadge(outcome, place) {
  return badge(outcome, ICONS[outcome], outcome.replace("_", " "), place);
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export function between(start, end) {
  return end ? duration((Date.parse(end) - Date.parse(start)) / 1000) : "";
}

// How long an execution took, or has been running.
export function elapsed({ started_at: start, stopped_at: end }) {
  return end ? `took ${between(start, end)}` : `running for ${between(start, new Date().toISOString())}`;
}

// The date and the time with its zone.
export function timeText(moment) {
  return new Date(moment).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
}

export function time(moment) {
  if (!moment) return element("span", { text: "unknown" });
  return element("time", { text: timeText(moment), datetime: moment, title: moment });
}

export function orderLink(orderId) {
  return element("a", { text: orderId, href: `/order?${new URLSearchParams({ id: orderId })}` });
}

export function executionLink(name) {
  return element("a", { text: name, href: `/execution?${new URLSearchParams({ name })}` });
}

// A saga id is the ARN of an execution, or `direct` if a function was called directly.
export function sagaLink(sagaId) {
  if (!sagaId.startsWith("arn:")) return element("span", { text: "a direct call of a function" });
  return executionLink(sagaId.split(":").at(-1));
}

// The texts of the data that the places show.
const shown = new WeakMap();

// Calls `show` if a place shows other data. What is unchanged keeps its focus, and a click of a person hits it.
export function showIfChanged(place, data, show) {
  const text = JSON.stringify(data);
  if (shown.get(place) === text) return;
  shown.set(place, text);
  show();
}

// Shows rows with their history in the list, or the note that there are none.
export function showRows(rows, list, emptyNote) {
  emptyNote.hidden = rows.length > 0;
  list.replaceChildren(...rows.map(rowItem));
}

function rowItem(row) {
  const head = element("p", { className: "row-head" }, element("strong", { text: row.entity }), " ", statusBadge(row));
  const entries = row.history.map((entry) =>
    element("li", {}, element("strong", { text: entry.status }), " ", time(entry.at), " by ", sagaLink(entry.saga_id)),
  );
  return element("li", { "data-entity": row.entity }, head, element("ol", { className: "history" }, ...entries));
}

function statusBadge({ status, compensated }) {
  // Null: the console does not know the statuses of this saga.
  if (compensated === null) return element("span", { className: "badge", text: status });
  const outcome = compensated ? "rolled_back" : "fulfilled";
  return badge(outcome, ICONS[outcome], status);
}
