// Draws a Mermaid text in a sandboxed frame and copies the shapes of the drawing: no styles, scripts or links.

const SVG = "http://www.w3.org/2000/svg";
const ELEMENTS = new Set(["svg", "g", "path", "rect", "circle", "polygon", "line", "text", "tspan", "defs", "marker"]);
const ATTRIBUTES = new Set([
  "class", "cx", "cy", "d", "dx", "dy", "height", "id", "marker-end", "markerHeight", "markerUnits", "markerWidth", "orient",
  "points", "r", "refX", "refY", "rx", "ry", "text-anchor", "transform", "viewBox", "width", "x", "x1", "x2", "y", "y1", "y2",
]);

export class Graph {
  #place;
  #frame;
  #ready;
  #number = 0;
  #pending = new Map();
  #text = "";

  constructor(place) {
    this.#place = place;
    this.#frame = document.createElement("iframe");
    Object.assign(this.#frame, { src: "/drawing", title: "Drawing", tabIndex: -1, className: "drawing" });
    this.#frame.setAttribute("sandbox", "allow-scripts");
    this.#frame.setAttribute("aria-hidden", "true");
    this.#ready = new Promise((resolve) => this.#pending.set("ready", resolve));
    addEventListener("message", (message) => this.#receive(message));
    document.body.append(this.#frame);
  }

  // Shows the graph of the text. If it is called again meanwhile, only the last text is shown.
  async show(text) {
    if (text === this.#text) return;
    this.#text = text;
    await this.#ready;
    const number = (this.#number += 1);
    const answer = await new Promise((resolve) => {
      this.#pending.set(number, resolve);
      this.#frame.contentWindow.postMessage({ number, text }, "*");
    });
    if (number !== this.#number) return;
    if (answer.error) throw new Error(`the graph cannot be drawn: ${answer.error}`);
    const picture = copyOf(answer.picture);
    const [, , width, height] = (picture.getAttribute("viewBox") ?? "0 0 600 400").split(" ");
    picture.setAttribute("width", width);
    picture.setAttribute("height", height);
    this.#place.replaceChildren(picture);
  }

  #receive(message) {
    if (message.source !== this.#frame.contentWindow) return;
    const key = message.data.ready ? "ready" : message.data.number;
    this.#pending.get(key)?.(message.data);
    this.#pending.delete(key);
  }
}

function copyOf(node) {
  if (typeof node === "string") return document.createTextNode(node);
  const [name, attributes, children] = node;
  if (!ELEMENTS.has(name)) return document.createTextNode("");
  const element = document.createElementNS(SVG, name);
  for (const [attribute, value] of attributes) {
    if (ATTRIBUTES.has(attribute)) element.setAttribute(attribute, value);
  }
  element.append(...children.map(copyOf));
  return element;
}
