// The form of a saga of which nothing is known but its key: its input as JSON.

import { noun } from "./api.js";
import { form, start_by } from "./start.js";

const { input } = form.elements;

start_by({
  filled: () => ({ input: input.value }),
  in_words,
  id,
  clear: () => {
    input.value = "";
  },
});

function id() {
  try {
    return String(JSON.parse(input.value)?.[input.dataset.key] ?? "");
  } catch {
    return "";
  }
}

function in_words({ held_by }) {
  if (!held_by) return ["good", "✓ This can be sent. The steps will say whether they accept it.", "Start"];
  const holder = held_by.split(":").at(-1);
  return ["warn", `⚠ There are rows of this ${noun}, by ${holder}: unless they are undone, this will be refused and change nothing of them.`, "Start anyway"];
}
