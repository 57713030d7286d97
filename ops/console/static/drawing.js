// Runs in the sandboxed frame: draws the texts that it receives, and sends the drawings back.
"use strict";

mermaid.initialize({
  startOnLoad: false,
  theme: "neutral",
  look: "classic",
  fontFamily: "system-ui, sans-serif",
  htmlLabels: false,
  flowchart: { htmlLabels: false, wrappingWidth: 300, nodeSpacing: 22, rankSpacing: 42, padding: 10 },
});

addEventListener("message", async (message) => {
  if (message.source !== parent) return;
  const { number, text } = message.data;
  try {
    const { svg } = await mermaid.render(`graph${number}`, text);
    const picture = new DOMParser().parseFromString(svg, "image/svg+xml").documentElement;
    parent.postMessage({ number, picture: plain(picture) }, "*");
  } catch (error) {
    parent.postMessage({ number, error: String(error.message) }, "*");
  }
});

// Returns [name, attributes, children], or a text. The page must not parse the picture: that would apply its styles.
function plain(node) {
  if (node.nodeType === Node.TEXT_NODE) return node.data;
  const attributes = Array.from(node.attributes, ({ name, value }) => [name, value]);
  const children = Array.from(node.childNodes).filter((child) => child.nodeType <= Node.TEXT_NODE);
  return [node.localName, attributes, children.map(plain)];
}

parent.postMessage({ ready: true }, "*");
