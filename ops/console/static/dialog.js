// The dialog that asks before a change.

import { byId, noun, post, showError } from "./api.js";

const dialog = byId("dialog");

// Asks a question; `change` runs after "yes". If it fails, the dialog shows the error.
export function ask({ heading, what, yes }, change) {
  byId("dialog-heading").textContent = heading;
  byId("dialog-what").textContent = what;
  byId("dialog-yes").textContent = yes;
  byId("dialog-yes").disabled = false;
  byId("dialog-no").textContent = "Cancel";
  byId("dialog-no").onclick = () => dialog.close();
  showError(null, byId("dialog-error"));
  byId("dialog-yes").onclick = async () => {
    byId("dialog-yes").disabled = true;
    try {
      await change();
      dialog.close();
    } catch (error) {
      showError(error.message, byId("dialog-error"));
      byId("dialog-no").textContent = "Close";
      byId("dialog-no").focus();
    }
  };
  dialog.showModal();
  byId("dialog-no").focus();
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
