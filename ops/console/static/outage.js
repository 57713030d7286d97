// The switch that breaks a function on purpose, on a local cloud.

import { byId, get, post, showError } from "./api.js";

const text = byId("outage");
const button = byId("outage-switch");
const state = text.dataset.state;
let isBroken = false;

function show({ broken }) {
  isBroken = broken;
  text.textContent = broken
    ? `${state} may not write. Start 5-failed-shipment: it gets stuck in ${state}. Then fix ${state} and resume the saga.`
    : `Nothing is broken. Break ${state} to watch a saga get stuck and to resume it.`;
  button.textContent = `${broken ? "Fix" : "Break"} ${state}`;
  button.disabled = false;
}

async function update(request) {
  button.disabled = true;
  try {
    show(await request);
    showError(null, byId("outage-error"));
  } catch (error) {
    showError(error.message, byId("outage-error"));
    button.disabled = false;
  }
}

button.addEventListener("click", () => update(post("/api/outage", { broken: !isBroken })));
update(get("/api/outage"));
