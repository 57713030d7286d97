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

// What a person has opened or closed, and the resumptions under way, by the names of the groups.
const opened = new Map();
const resumptions = new Map();

export function showGroups(sagas, place, refresh) {
  const groups = Map.groupBy(sagas, ({ state, error }) => `${state ?? "before the first state"}: ${error ?? "no error"}`);
  for (const name of resumptions.keys()) if (!groups.has(name)) groups.set(name, []);
  const sorted = [...groups].sort(([, one], [, other]) => other.length - one.length);
  const items = () => sorted.map(([name, members]) => groupItem(name, members, sagas.length <= FEW, refresh));
  showIfChanged(place, [sorted, ...resumptions.keys()], () => place.replaceChildren(...items()));
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
  const bar = element("progress", { max: members.length, value: 0, "aria-label": `Resumed of ${name}` });
  const text = element("span", { role: "status" });
  const stop = element("button", { type: "button", className: "plain", text: "Stop resuming" });
  const resumption = { view: element("p", { className: "resumption" }, bar, " ", text, " ", stop), stopped: false };
  stop.addEventListener("click", () => (resumption.stopped = true));
  resumptions.set(name, resumption);
  const waiting = [...members];
  const rejected = [];
  let ended = 0;
  let problem = null;
  const goesOn = () => waiting.length > 0 && !problem && !resumption.stopped;
  const resumeNext = async () => {
    const saga = waiting.shift();
    try {
      if (await isRecovered(saga)) ended += 1;
      else problem ??= `${saga.name}: it is stuck again`;
    } catch (error) {
      if (REJECTED.includes(error.status)) rejected.push(error.message);
      else problem ??= `${saga.name}: ${error.message}`;
    }
    bar.value = ended + rejected.length;
    text.textContent = `${ended} of ${members.length} ended cleanly.`;
  };
  const work = async () => {
    while (goesOn()) await resumeNext();
  };
  text.textContent = "Waiting for the first one.";
  refresh();
  while (goesOn() && !ended) await resumeNext();
  await Promise.all(Array.from({ length: AT_A_TIME }, work));
  resumptions.delete(name);
  await refresh();
  if (rejected.length) showProblem(name, `Not resumed: ${rejected.length}. ${rejected[0]}`);
  if (problem) showProblem(name, `Stopped resuming. ${problem}`);
}

// Resumes a saga and waits for its end; returns whether that is clean. An answer from before the redrive does not count.
async function isRecovered({ execution_arn: execution, name }) {
  const { at: redrivenAt } = await post("/api/resume", { execution });
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    const { outcome, stopped_at: at } = await get("/api/outcome", { name });
    if (outcome === "stuck" && Date.parse(at) >= Date.parse(redrivenAt)) return false;
    if (outcome === "fulfilled" || outcome === "rolled_back") return true;
  }
}

function showProblem(name, text) {
  const group = document.querySelector(`[data-group="${CSS.escape(name)}"]`);
  group?.querySelector("summary").after(element("p", { className: "error", role: "alert", text }));
}
