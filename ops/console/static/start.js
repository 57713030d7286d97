// The form that starts a saga: its name, what will happen, and its sending. What is filled in differs by saga.

import { tell } from "./api.js";
import { execution_link } from "./words.js";

const CHECK_MS = 250;

const get = (id) => document.getElementById(id);
export const form = get("start");

// `filled()` is what to send, `id()` what the execution is named after, `in_words` makes [kind, text, label] of the
// verdict, and `clear()` takes away what nobody should find in the form later. Returns what to call after a change of
// the form by a script.
export function start_by({ filled, id, in_words, clear }) {
  let named = false;
  let checking = 0;
  const all = () => ({ ...filled(), name: form.elements.name.value });

  function name_it() {
    if (!named) form.elements.name.value = id().replace(/[^A-Za-z0-9_.-]/g, "-").slice(0, 80);
  }

  async function check() {
    const number = (checking += 1);
    await new Promise((resolve) => setTimeout(resolve, CHECK_MS));
    if (number !== checking) return;
    let verdict;
    try {
      verdict = in_words(await tell("/api/check", all()));
    } catch (error) {
      verdict = ["bad", `✗ ${error.message}`, "Start"];
    }
    if (number !== checking) return;
    const [kind, text, label] = verdict;
    get("verdict").className = `verdict ${kind}`;
    if (get("verdict").textContent !== text) get("verdict").textContent = text;
    get("submit").textContent = label;
  }

  form.addEventListener("input", (event) => {
    if (event.target === form.elements.name) named = form.elements.name.value !== "";
    else name_it();
    check();
  });

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    get("submit").disabled = true;
    try {
      const started = await tell("/api/start", all());
      clear();
      location.assign(execution_link(started.name).href);
    } catch (error) {
      checking += 1;
      get("verdict").className = "verdict bad";
      get("verdict").textContent = `✗ ${error.message} `;
      if (error.answer?.existing) get("verdict").append(execution_link(error.answer.existing));
    } finally {
      get("submit").disabled = false;
    }
  });

  return () => {
    named = false;
    name_it();
    check();
  };
}
