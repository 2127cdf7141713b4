"use strict";
// Elements, numbers and the data of the page. Text from the data becomes text nodes and attributes, never markup.

const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

/** An HTML element; attributes that begin with "on" are listeners. */
const html = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

/** An SVG element. */
const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

/** Numbers of `packed` in page.py. */
function unpack({ kind, data: text }) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new { f4: Float32Array, f8: Float64Array }[kind](bytes.buffer);
}

/** Four digits, as a person reads them; whole numbers in full. */
function digits(value) {
  if (value === null || Number.isNaN(value)) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return value.toLocaleString("en-US").replace("-", "−");
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const text = size < 1e-3 || size >= 1e6 ? Number(value.toPrecision(4)).toExponential() : String(Number(value.toPrecision(4)));
  return text.replace(/-/g, "−");
}

const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en-US")} ${count === 1 ? one : many}`;
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** About `count` round numbers from low to high. */
function ticks(low, high, count) {
  const rough = (high - low) / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max([1, 2, 5, 10].find((one) => one * power >= rough) * power, 1);
  const found = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) found.push(tick);
  return found;
}

/** A section of the page with its link in the contents. */
function section(id, title, ...children) {
  document.getElementById("contents").append(html("a", { href: `#${id}` }, title));
  const own = html("section", { id, "aria-labelledby": `${id}-title` }, html("h2", { id: `${id}-title` }, title), children);
  document.getElementById("main").append(own);
  return own;
}
