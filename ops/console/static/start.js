// The form that starts a saga: presets, fields, the check of the input, and the start.

import { byId, post } from "./api.js";
import { executionLink } from "./display.js";

const CHECK_MS = 250;

const form = byId("start");
const { name, more } = form.elements;
const fields = [...form.querySelectorAll("[data-field]")];
const presets = [...document.querySelectorAll(".preset")];
// Missing if the saga has no sensitive fields.
const useSecrets = byId("use-secrets");
let preset = null;
let hasOwnName = false;
let checks = 0;

function filled() {
  return {
    fields: Object.fromEntries(fields.map((field) => [field.name, field.value])),
    more: more.value,
    secrets_of: useSecrets?.checked ? preset.name : null,
    name: name.value,
  };
}

// Names the execution after the key of the input, unless a person has named it.
function suggestName() {
  if (!hasOwnName) name.value = keyValue().replace(/[^A-Za-z0-9_.-]/g, "-").slice(0, 80);
}

function keyValue() {
  const { key } = form.dataset;
  const field = fields.find((one) => one.name === key);
  if (field) return field.value;
  try {
    return String(JSON.parse(more.value)?.[key] ?? "");
  } catch {
    return "";
  }
}

async function check() {
  const number = (checks += 1);
  await new Promise((resolve) => setTimeout(resolve, CHECK_MS));
  if (number !== checks) return;
  const { text, accepted } = await post("/api/check", filled()).catch((error) => ({ text: error.message, accepted: null }));
  if (number !== checks) return;
  showVerdict(text, accepted);
  byId("submit").textContent = accepted === false ? "Start anyway" : "Start";
}

// `accepted` is null if the input cannot be sent.
function showVerdict(text, accepted) {
  const [kind, icon] = accepted === null ? ["bad", "✗"] : accepted ? ["good", "✓"] : ["warn", "⚠"];
  byId("verdict").className = `verdict ${kind}`;
  if (byId("verdict").textContent !== `${icon} ${text}`) byId("verdict").textContent = `${icon} ${text}`;
}

function choose(button) {
  preset = JSON.parse(button.dataset.preset);
  for (const one of presets) one.setAttribute("aria-pressed", String(one === button));
  for (const field of fields) field.value = preset.fields[field.name] ?? "";
  more.value = "";
  if (useSecrets) {
    useSecrets.checked = preset.has_secrets;
    useSecrets.closest("p").hidden = !preset.has_secrets;
  }
  hasOwnName = false;
  suggestName();
  check();
}

for (const button of presets) {
  button.addEventListener("click", () => choose(button));
  button.parentElement.querySelector(".run").addEventListener("click", () => {
    choose(button);
    startAnew();
  });
}

// Starts the preset under an id that no saga owns: a preset can be started repeatedly.
async function startAnew() {
  const field = fields.find((one) => one.name === form.dataset.key);
  const first = field?.value;
  for (let number = 2; (await post("/api/check", filled()).catch(() => ({}))).owned; number += 1) {
    field.value = `${first}-${number}`;
    suggestName();
  }
  form.requestSubmit();
}

form.addEventListener("input", (event) => {
  if (event.target === name) hasOwnName = name.value !== "";
  else suggestName();
  check();
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  byId("submit").disabled = true;
  try {
    const started = await post("/api/start", filled());
    form.reset(); // so that nobody finds the input here later
    location.assign(executionLink(started.name).href);
  } catch (error) {
    checks += 1;
    showVerdict(error.message, null);
    byId("verdict").scrollIntoView({ block: "nearest" });
    if (error.answer?.existing) byId("verdict").append(" ", executionLink(error.answer.existing));
  } finally {
    byId("submit").disabled = false;
  }
});

if (presets.length) choose(presets[0]);
