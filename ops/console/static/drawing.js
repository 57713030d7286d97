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
    const picture = new DOMParser().parseFromString(svg, "image/svg+xml").documentElement;
    parent.postMessage({ number, picture: told(picture) }, "*");
  } catch (error) {
    parent.postMessage({ number, error: String(error.message) }, "*");
  }
});

// The picture as [name, attributes, children], text as text: parsing it in the page would apply its styles there.
function told(node) {
  if (node.nodeType === Node.TEXT_NODE) return node.data;
  const attributes = Array.from(node.attributes, ({ name, value }) => [name, value]);
  const children = Array.from(node.childNodes).filter((child) => child.nodeType <= Node.TEXT_NODE);
  return [node.localName, attributes, children.map(told)];
}

parent.postMessage({ ready: true }, "*");
