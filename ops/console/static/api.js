// Questions to the server, and what all pages need to show an answer.

const token = document.querySelector('meta[name="csrf-token"]').content;
// What the saga is about: "order", "trip".
export const noun = document.querySelector('meta[name="noun"]').content;

export async function ask(path, given = {}) {
  const query = new URLSearchParams(Object.entries(given).filter(([, value]) => value));
  return answered(await fetch(`${path}?${query}`, { headers: { Accept: "application/json" } }).catch(unreachable));
}

export async function tell(path, body) {
  return answered(
    await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRF-Token": token },
      body: JSON.stringify(body),
    }).catch(unreachable),
  );
}

function unreachable() {
  throw new Error("the console does not answer: is it still running?");
}

async function answered(response) {
  const answer = await response.json().catch(() => ({ error: `the console answered ${response.status}` }));
  if (!response.ok) throw Object.assign(new Error(answer.error), { answer });
  return answer;
}

// Says an error on the page; without one, nothing is said any more.
export function show_error(message, place = document.getElementById("error")) {
  if (place.textContent !== (message ?? "")) place.textContent = message ?? "";
  place.hidden = !message;
}

export function element(name, { text, className, ...attributes } = {}, ...children) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
}

// Calls again and again while the page is seen; what it returns is the wait until the next call, null for none.
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
