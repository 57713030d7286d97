// Requests to the server, and helpers that all pages share.

const token = document.querySelector('meta[name="csrf-token"]').content;
// What the saga is about, such as "order" or "trip".
export const noun = document.querySelector('meta[name="noun"]').content;
export const byId = (id) => document.getElementById(id);

export async function get(path, parameters = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value));
  return answerOf(fetch(`${path}?${query}`, { headers: { Accept: "application/json", "X-CSRF-Token": token } }));
}

export async function post(path, body) {
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": token };
  return answerOf(fetch(path, { method: "POST", headers, body: JSON.stringify(body) }));
}

async function answerOf(request) {
  const response = await request.catch(() => {
    throw new Error("the console does not respond: check that it is still running");
  });
  const answer = await response.json().catch(() => ({ error: `the console responded with status ${response.status}` }));
  if (!response.ok) throw Object.assign(new Error(answer.error), { answer, status: response.status });
  return answer;
}

// Shows an error on the page; null hides it.
export function showError(message, place = byId("error")) {
  if (place.textContent !== (message ?? "")) place.textContent = message ?? "";
  place.hidden = !message;
}

export function element(name, { text, className, ...attributes } = {}, ...children) {
  const created = document.createElement(name);
  if (text !== undefined) created.textContent = text;
  if (className) created.className = className;
  for (const [attribute, value] of Object.entries(attributes)) created.setAttribute(attribute, value);
  created.append(...children);
  return created;
}

// Repeats the call while the page is visible. The call returns the milliseconds until the next one, or null to stop.
export function repeat(call) {
  let timer = null;
  const run = async () => {
    timer = null;
    if (document.hidden) return;
    const wait = await call();
    if (wait !== null && timer === null) timer = setTimeout(run, wait);
  };
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && timer === null) run();
  });
  run();
  return () => {
    clearTimeout(timer);
    run();
  };
}
