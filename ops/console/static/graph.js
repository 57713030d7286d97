// Draws Mermaid's text by way of the frame, and takes over the shapes of the picture: no style, no script, no link.

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
  #waiting = new Map();
  #drawn = "";

  constructor(place) {
    this.#place = place;
    this.#frame = document.createElement("iframe");
    Object.assign(this.#frame, { src: "/drawing", title: "Drawing", tabIndex: -1, className: "drawing" });
    this.#frame.setAttribute("sandbox", "allow-scripts");
    this.#frame.setAttribute("aria-hidden", "true");
    this.#ready = new Promise((resolve) => this.#waiting.set("ready", resolve));
    addEventListener("message", (message) => this.#hear(message));
    document.body.append(this.#frame);
  }

  // Shows the graph of the text; the one that is asked for last stays.
  async show(text) {
    if (text === this.#drawn) return;
    this.#drawn = text;
    await this.#ready;
    const number = (this.#number += 1);
    const answer = await new Promise((resolve) => {
      this.#waiting.set(number, resolve);
      this.#frame.contentWindow.postMessage({ number, text }, "*");
    });
    if (number !== this.#number) return;
    if (answer.error) throw new Error(`the graph cannot be drawn: ${answer.error}`);
    this.#place.replaceChildren(taken(answer.picture));
  }

  #hear(message) {
    if (message.source !== this.#frame.contentWindow) return;
    const key = message.data.ready ? "ready" : message.data.number;
    this.#waiting.get(key)?.(message.data);
    this.#waiting.delete(key);
  }
}

function taken(told) {
  const picture = made(told);
  const [, , width, height] = (picture.getAttribute("viewBox") ?? "0 0 600 400").split(" ");
  picture.setAttribute("width", width);
  picture.setAttribute("height", height);
  return picture;
}

function made(told) {
  if (typeof told === "string") return document.createTextNode(told);
  const [name, attributes, children] = told;
  if (!ELEMENTS.has(name)) return document.createTextNode("");
  const element = document.createElementNS(SVG, name);
  for (const [attribute, value] of attributes) {
    if (ATTRIBUTES.has(attribute)) element.setAttribute(attribute, value);
  }
  element.append(...children.map(made));
  return element;
}
