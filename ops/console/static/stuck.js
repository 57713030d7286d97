// The stuck sagas in groups of the same state and error, and the resumption of a whole group.

import { element, get, noun, post } from "./api.js";
import { executionLink, orderLink, outcomeBadge, showIfChanged, time } from "./display.js";
import { ask, askToResume } from "./dialog.js";

// With more stuck sagas than that, the groups are collapsed.
const FEW = 5;
// The sagas of a group that are shown before somebody asks for all.
const FIRST = 20;
const AT_A_TIME = 4;
const POLL_MS = 1000;
// The statuses about one saga: it is gone, runs already, or can no longer be resumed. The others can go on.
const REJECTED = [404, 409];

// By the names of the groups: what a person has opened or closed, the resumptions under way, and the problems of ended ones.
const opened = new Map();
const resumptions = new Map();
const problems = new Map();

export function showGroups(sagas, place, refresh) {
  const groups = Map.groupBy(sagas, ({ state, error }) => `${state ?? "before the first state"}: ${error ?? "no error"}`);
  for (const name of [...resumptions.keys(), ...problems.keys()]) if (!groups.has(name)) groups.set(name, []);
  const sorted = [...groups].sort(([, one], [, other]) => other.length - one.length);
  const items = () => sorted.map(([name, members]) => groupItem(name, members, sagas.length <= FEW, refresh));
  showIfChanged(place, [sorted, ...resumptions.keys(), ...problems], () => place.replaceChildren(...items()));
}

function groupItem(name, members, isOpen, refresh) {
  const oldest = members.map((saga) => saga.stopped_at).sort()[0];
  const until = members.map((saga) => saga.redrivable_until).filter(Boolean).sort()[0];
  const head = element("summary", {}, element("strong", { text: `${members.length} × ${name}` }));
  if (oldest) head.append(". The oldest stopped ", time(oldest));
  if (until) head.append(", can be resumed until ", time(until));
  const group = element("details", { className: "group", "data-group": name }, head);
  group.open = opened.get(name) ?? isOpen;
  group.addEventListener("toggle", () => opened.set(name, group.open));
  group.append(...(problems.get(name) ?? []).map((text) => element("p", { className: "error", role: "alert", text })));
  const resumption = resumptions.get(name);
  if (resumption) group.append(resumption.view);
  else if (members.length > 1) {
    const button = element("button", { type: "button", text: `Resume all ${members.length} …` });
    button.addEventListener("click", () => askToResumeAll(name, members, refresh));
    group.append(element("p", {}, button));
  }
  const list = element("ul", { className: "stuck" }, ...members.slice(0, FIRST).map(sagaItem));
  group.append(list);
  if (members.length > FIRST) {
    const all = element("button", { type: "button", className: "plain", text: `Show all ${members.length}` });
    all.addEventListener("click", () => {
      list.replaceChildren(...members.map(sagaItem));
      all.remove();
    });
    group.append(all);
  }
  return group;
}

function sagaItem(saga) {
  const { name, execution_arn: arn, state, order_id: orderId } = saga;
  const button = element("button", { type: "button", text: "Resume …", "aria-label": `Resume ${name} …` });
  button.addEventListener("click", () =>
    askToResume({ name, arn, state, orderId }, () => location.assign(executionLink(name).href)),
  );
  const head = element("p", { className: "row-head" }, outcomeBadge("stuck"), " ", executionLink(name));
  if (orderId) head.append(` of ${noun} `, orderLink(orderId));
  const where = element("p", {}, `Stopped ${state ? `in ${state}` : "before its first state"}, `, time(saga.stopped_at), ".");
  const cause = element("p", { className: "cause", text: saga.cause ?? saga.error ?? "No cause was given." });
  return element("li", { "data-execution": name }, head, where, cause, button);
}

function askToResumeAll(name, members, refresh) {
  const what =
    `The console resumes one of the ${members.length} sagas in "${name}" and waits for its clean end, then the others, ` +
    `${AT_A_TIME} at a time. It stops when one gets stuck again. Fix the cause first, and keep this page open.`;
  ask({ name, heading: "Resume this group?", what, yes: `Resume ${members.length}` }, () => {
    resumeAll(name, members, refresh);
  });
}

async function resumeAll(name, members, refresh) {
  const resumption = newResumption(name, members.length);
  resumptions.set(name, resumption);
  problems.delete(name);
  const waiting = [...members];
  const goesOn = () => waiting.length > 0 && !resumption.isOver;
  const work = async () => {
    while (goesOn()) await resume(waiting.shift(), resumption);
  };
  resumption.show();
  refresh();
  while (goesOn() && !resumption.ended) await resume(waiting.shift(), resumption);
  await Promise.all(Array.from({ length: AT_A_TIME }, work));
  resumptions.delete(name);
  const { rejected, problem } = resumption;
  const found = rejected.length ? [`Not resumed: ${rejected.length}. ${rejected[0]}`] : [];
  if (problem) found.push(`Stopped resuming. ${problem}`);
  if (found.length) {
    problems.set(name, found);
    opened.set(name, true);
  }
  await refresh();
}

// The resumption of a group, with its counts and its view. `show` shows the counts and what a saga is held up by.
function newResumption(name, total) {
  const bar = element("progress", { max: total, value: 0, "aria-label": `Resumed of ${name}` });
  const text = element("span", { role: "status" });
  const stop = element("button", { type: "button", className: "plain", text: "Stop resuming" });
  const view = element("p", { className: "resumption" }, bar, " ", text, " ", stop);
  const resumption = { view, ended: 0, rejected: [], problem: null, isOver: false };
  resumption.show = (trouble = "") => {
    bar.value = resumption.ended + resumption.rejected.length;
    const count = resumption.ended ? `${resumption.ended} of ${total} ended cleanly.` : "Waiting for the first one.";
    const shown = `${count} ${trouble}`;
    if (text.textContent !== shown) text.textContent = shown;
  };
  stop.addEventListener("click", () => (resumption.isOver = true));
  return resumption;
}

async function resume(saga, resumption) {
  const stopAt = (problem) => {
    resumption.problem ??= `${saga.name}: ${problem}`;
    resumption.isOver = true;
  };
  try {
    const isClean = await isRecovered(saga, resumption);
    if (isClean) resumption.ended += 1;
    if (isClean === false) stopAt("it is stuck again");
  } catch (error) {
    if (REJECTED.includes(error.status)) resumption.rejected.push(error.message);
    else stopAt(error.message);
  }
  resumption.show();
}

// Resumes a saga and waits for its end; returns whether that is clean, null if the resumption is over before. An answer from
// before the redrive does not count. While its outcome cannot be read, it waits on.
async function isRecovered({ execution_arn: execution, name }, resumption) {
  const { at: redrivenAt } = await post("/api/resume", { execution });
  while (!resumption.isOver) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    try {
      const { outcome, stopped_at: at } = await get("/api/outcome", { name });
      if (outcome === "stuck" && Date.parse(at) >= Date.parse(redrivenAt)) return false;
      if (outcome === "fulfilled" || outcome === "rolled_back") return true;
      resumption.show();
    } catch (error) {
      // A response that says what is wrong with the request would stay the same.
      if (error.status < 500) throw error;
      resumption.show(`${name}: ${error.message}`);
    }
  }
  return null;
}
