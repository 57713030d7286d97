// In the frame that has no origin: draws the text it is sent, and sends the picture back.
"use strict";

mermaid.initialize({
  startOnLoad: false,
  theme: "neutral",
  look: "classic",
  fontFamily: "system-ui, sans-serif",
  htmlLabels: false,
  flowchart: { htmlLabels: false, wrappingWidth: 300, nodeSpacing: 22, rankSpacing: 42, padding: 10 },
});

let drawn = 0;

addEventListener("message", async (message) => {
  if (message.source !== parent) return;
  const { number, text } = message.data;
  drawn += 1;
  try {
    const { svg } = await mermaid.render(`graph${drawn}`, text);
    parent.postMessage({ number, svg }, "*");
  } catch (error) {
    parent.postMessage({ number, error: String(error.message) }, "*");
  }
});
parent.postMessage({ ready: true }, "*");
