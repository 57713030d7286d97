// The order saga's form: presets, a field each, and what the steps will say to it.

import { form, start_by } from "./start.js";

const get = (id) => document.getElementById(id);
let preset = null;

const changed = start_by({
  filled,
  in_words,
  id: () => form.elements.order_id.value,
  clear: () => {
    form.elements.card_no.value = "";
  },
});

for (const pair of document.querySelectorAll(".pair")) {
  const button = pair.querySelector(".preset");
  button.addEventListener("click", () => choose(button));
  pair.querySelector(".run").addEventListener("click", () => {
    choose(button);
    form.requestSubmit();
  });
}

function choose(button) {
  preset = JSON.parse(button.dataset.preset);
  for (const one of document.querySelectorAll(".preset")) one.setAttribute("aria-pressed", String(one === button));
  for (const input of form.querySelectorAll('[id^="field-"]')) input.value = preset.fields[input.name] ?? "";
  form.elements.more.value = "";
  get("use-card").hidden = !preset.has_card;
  get("use-preset-card").checked = preset.has_card;
  changed();
}

function filled() {
  const fields = {};
  for (const input of form.querySelectorAll('[id^="field-"]')) fields[input.name] = input.value;
  const card_of = preset?.has_card && get("use-preset-card").checked ? preset.name : null;
  return { fields, more: form.elements.more.value, card_of };
}

function in_words({ step, reason, held_by }) {
  if (step) return ["warn", `⚠ ${step} will refuse this: ${reason}. What is done before will be undone.`, "Start anyway"];
  if (held_by) {
    const holder = held_by.split(":").at(-1);
    return ["warn", `⚠ The order is held by ${holder}: CreateOrder will refuse this with OrderConflict and change nothing of it.`, "Start anyway"];
  }
  return ["good", "✓ Every step will accept this.", "Start"];
}

choose(document.querySelector(".preset"));
