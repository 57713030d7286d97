// The dialog that asks before it resumes a saga.

import { byId, noun, post, showError } from "./api.js";

const dialog = byId("resume");

// `saga` has name, arn, state, orderId and reportsRedrive; `onResumed` is called when the saga runs again.
export function askToResume(saga, onResumed) {
  const where = saga.state ? `in ${saga.state}, with its original input` : "in its first state";
  const order = saga.orderId ? ` of ${noun} ${saga.orderId}` : "";
  byId("resume-what").textContent = `The execution ${saga.name}${order} resumes ${where}. Fix the cause first.`;
  byId("resume-note").hidden = saga.reportsRedrive;
  showError(null, byId("resume-error"));
  byId("resume-yes").disabled = false;
  byId("resume-no").textContent = "Cancel";
  byId("resume-no").onclick = () => dialog.close();
  byId("resume-yes").onclick = async () => {
    byId("resume-yes").disabled = true;
    try {
      await post("/api/resume", { execution: saga.arn });
      dialog.close();
      onResumed();
    } catch (error) {
      showError(error.message, byId("resume-error"));
      byId("resume-no").textContent = "Close";
      byId("resume-no").focus();
    }
  };
  dialog.showModal();
  byId("resume-no").focus();
}
