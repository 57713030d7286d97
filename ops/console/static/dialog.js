// The dialog that asks before a change.

import { byId, noun, post, showError } from "./api.js";

const dialog = byId("dialog");

// Asks a question; `change` runs after "yes". If it fails, the dialog shows the error. With a `label`, it also asks for a
// text, at first `text`, which `change` receives and which can be corrected after an error.
export function ask({ heading, what, yes, label, text = "" }, change) {
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
  byId("dialog-yes").onclick = async () => {
    byId("dialog-yes").disabled = true;
    try {
      await change(byId("dialog-field").value);
      dialog.close();
    } catch (error) {
      showError(error.message, byId("dialog-error"));
      byId("dialog-no").textContent = "Close";
      byId("dialog-yes").disabled = !label;
      byId(label ? "dialog-field" : "dialog-no").focus();
    }
  };
  dialog.showModal();
  byId(label ? "dialog-field" : "dialog-no").focus();
}

// `saga` has name, arn, state and orderId; `onResumed` is called when the saga runs again.
export function askToResume(saga, onResumed) {
  const where = saga.state ? `in ${saga.state}, with its original input` : "in its first state";
  const order = saga.orderId ? ` of ${noun} ${saga.orderId}` : "";
  const what = `The execution ${saga.name}${order} resumes ${where}. Fix the cause first.`;
  ask({ heading: "Resume this saga?", what, yes: "Resume" }, async () => {
    await post("/api/resume", { execution: saga.arn });
    onResumed();
  });
}

export function askToCancel(saga, onCancelled) {
  const what = `The saga ${saga.name} rolls back by itself, unless its last step has begun.`;
  ask({ heading: "Cancel this saga?", what, yes: "Roll back" }, async () => {
    await post("/api/cancel", { execution: saga.arn });
    onCancelled();
  });
}

export function askToStop(saga, onStopped) {
  const what = `The execution ${saga.name} stops where it is, and its saga is stuck until somebody resumes it.`;
  ask({ heading: "Stop this saga?", what, yes: "Stop" }, async () => {
    await post("/api/stop", { execution: saga.arn });
    onStopped();
  });
}

// `saga` has name, arn and state; its step waits for an answer.
export function askToAccept(saga, onAnswered) {
  const what = `The saga ${saga.name} continues as if its answer had arrived. The first answer counts.`;
  const label = "Details, as a JSON object";
  ask({ heading: `Accept ${saga.state}?`, what, yes: "Accept", label, text: "{}" }, async (details) => {
    await post("/api/answer", { execution: saga.arn, state: saga.state, result: "accepted", details });
    onAnswered();
  });
}

export function askToReject(saga, onAnswered) {
  const what = `The saga ${saga.name} rolls back as if its answer had arrived. The first answer counts.`;
  ask({ heading: `Reject ${saga.state}?`, what, yes: "Reject", label: "Reason" }, async (reason) => {
    await post("/api/answer", { execution: saga.arn, state: saga.state, result: "rejected", reason });
    onAnswered();
  });
}
