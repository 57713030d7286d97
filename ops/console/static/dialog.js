// The dialog that asks before a change.

import { byId, noun, post, showError } from "./api.js";

const dialog = byId("dialog");
let questions = 0;

// Asks a question about `name`; `change` runs after "yes", and then `done`. If `change` fails, the dialog shows the error.
// With a `label`, it also asks for a text, at first `text`, which `change` receives and which can be corrected after an
// error. If the question was closed meanwhile, the page shows the error, and `done` does not run.
export function ask({ name, heading, what, yes, label, text = "" }, change, done = () => {}) {
  const number = (questions += 1);
  const isAsked = () => dialog.open && number === questions;
  byId("dialog-heading").textContent = heading;
  byId("dialog-what").textContent = what;
  byId("dialog-yes").textContent = yes;
  byId("dialog-yes").disabled = false;
  byId("dialog-no").textContent = "Cancel";
  byId("dialog-no").onclick = () => dialog.close();
  byId("dialog-entry").hidden = !label;
  byId("dialog-label").textContent = label ?? "";
  byId("dialog-field").value = text;
  showError(null, byId("dialog-error"));
  showError(null, byId("change-error"));
  byId("dialog-yes").onclick = async () => {
    byId("dialog-yes").disabled = true;
    byId("dialog-no").textContent = "Close";
    try {
      await change(byId("dialog-field").value);
      if (!isAsked()) return;
      dialog.close();
      done();
    } catch (error) {
      if (!isAsked()) return showLateError(`${name}: ${error.message}`);
      showError(error.message, byId("dialog-error"));
      byId("dialog-yes").disabled = !label;
      byId(label ? "dialog-field" : "dialog-no").focus();
    }
  };
  dialog.showModal();
  byId(label ? "dialog-field" : "dialog-no").focus();
}

function showLateError(message) {
  showError(message, byId("change-error"));
  byId("change-error").scrollIntoView({ block: "nearest" });
}

// `saga` has name, arn, state and orderId; `onResumed` is called when the saga runs again.
export function askToResume(saga, onResumed) {
  const where = saga.state ? `in ${saga.state}, with its original input` : "in its first state";
  const order = saga.orderId ? ` of ${noun} ${saga.orderId}` : "";
  const what = `The execution ${saga.name}${order} resumes ${where}. Fix the cause first.`;
  const question = { name: saga.name, heading: "Resume this saga?", what, yes: "Resume" };
  ask(question, () => post("/api/resume", { execution: saga.arn }), onResumed);
}

export function askToCancel(saga, onCancelled) {
  const what = `The saga ${saga.name} rolls back by itself, unless its last step has begun.`;
  const question = { name: saga.name, heading: "Cancel this saga?", what, yes: "Roll back" };
  ask(question, () => post("/api/cancel", { execution: saga.arn }), onCancelled);
}

export function askToStop(saga, onStopped) {
  const what = `The execution ${saga.name} stops where it is, and its saga is stuck until somebody resumes it.`;
  const question = { name: saga.name, heading: "Stop this saga?", what, yes: "Stop" };
  ask(question, () => post("/api/stop", { execution: saga.arn }), onStopped);
}

// `saga` has name, arn and state; its step waits for an answer.
export function askToAccept(saga, onAnswered) {
  const what = `The saga ${saga.name} continues as if its answer had arrived. The first answer counts.`;
  const label = "Details, as a JSON object";
  const question = { name: saga.name, heading: `Accept ${saga.state}?`, what, yes: "Accept", label, text: "{}" };
  const answer = { execution: saga.arn, state: saga.state, result: "accepted" };
  ask(question, (details) => post("/api/answer", { ...answer, details }), onAnswered);
}

export function askToReject(saga, onAnswered) {
  const what = `The saga ${saga.name} rolls back as if its answer had arrived. The first answer counts.`;
  const question = { name: saga.name, heading: `Reject ${saga.state}?`, what, yes: "Reject", label: "Reason" };
  const answer = { execution: saga.arn, state: saga.state, result: "rejected" };
  ask(question, (reason) => post("/api/answer", { ...answer, reason }), onAnswered);
}
