// The dialog that asks before a saga is resumed.

import { noun, show_error, tell } from "./api.js";

const get = (id) => document.getElementById(id);

// `saga` is {name, arn, state, order_id, can_tell_redrive}; `resumed` is called when it goes on.
export function ask_to_resume(saga, resumed) {
  const dialog = get("resume");
  const where = saga.state ? `in ${saga.state}, with the input that it had` : "in its first state";
  const order = saga.order_id ? ` of ${noun} ${saga.order_id}` : "";
  get("resume-what").textContent = `The execution ${saga.name}${order} will go on ${where}. Mend the cause first.`;
  get("resume-note").hidden = saga.can_tell_redrive;
  get("resume-note").textContent =
    "This service does not say whether the execution can be resumed. AWS does; the local cloud has no RedriveExecution, so there it stays as it is.";
  show_error(null, get("resume-error"));
  get("resume-yes").disabled = false;
  get("resume-no").textContent = "Cancel";
  get("resume-no").onclick = () => dialog.close();
  get("resume-yes").onclick = async () => {
    get("resume-yes").disabled = true;
    try {
      await tell("/api/resume", { execution: saga.arn });
      dialog.close();
      resumed();
    } catch (error) {
      show_error(error.message, get("resume-error"));
      get("resume-no").textContent = "Close";
      get("resume-no").focus();
    }
  };
  dialog.showModal();
  get("resume-no").focus();
}
