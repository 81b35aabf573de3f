// What the colours of a picture mean, and what a pixel of it says.

import { classes, draw, drawable, scale } from "./drawing.js";
import { element, paint, swatch } from "./elements.js";

const NAMED = 8;  // classes in a legend
const BALL = 88;  // pixels
const number = v => Number.isFinite(v) ? v.toFixed(2).replace("-", "−") : "unknown";
const withUnit = (task, v) => `${number(v)} ${Number.isFinite(v) ? task.output.unit : ""}`.trim();
const nameOf = (task, id) => task.classes.find(c => c.id === id)?.name ?? `class ${id}`;

/** The legend of an answer. */
export function legend(task, values, channels) {
  if (!drawable(task, channels)) return element("p", {}, `Numbers of the kind ${task.kind}, which this page cannot draw.`);
  if (task.classes) return classLegend(task, classes(values, channels));
  if (task.ramp) return rampLegend(task, scale(task, values, channels));
  return normalsLegend(task);
}

function classLegend(task, ids) {
  const counts = new Map();
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1);
  const sorted = [...counts].sort((a, b) => b[1] - a[1]), rest = sorted.length - NAMED;
  const list = element("ul");
  for (const [id, count] of sorted.slice(0, NAMED)) {
    const colour = task.classes.find(c => c.id === id)?.colour ?? [255, 0, 255], share = 100 * count / ids.length;
    list.append(element("li", { title: `${share.toFixed(1)} % of the picture` }, swatch(colour), nameOf(task, id)));
  }
  if (rest > 0) list.append(element("li", {}, `and ${rest} more`));
  return list;
}

function rampLegend(task, [low, high]) {
  const { colours } = task.ramp, canvas = element("canvas", { className: "ramp", ariaHidden: "true" });
  paint(canvas, new Uint8ClampedArray(colours.flatMap(c => [...c, 255])), colours.length, 1);
  const probability = task.ramp.low === 0 && task.ramp.high === 1;
  const ends = probability ? ["0", "probability", "1"] : [withUnit(task, low), withUnit(task, high)];
  return element("div", {}, canvas, element("div", { className: "ends" }, ...ends.map(end => element("span", {}, end))));
}

/** A ball as the camera sees it, each point in the colour of its normal: z points away, so the near side has z < 0. */
function normalsLegend(task) {
  const vectors = new Float32Array(3 * BALL * BALL), inside = [];
  for (let i = 0; i < BALL * BALL; i++) {
    const x = 2 * (i % BALL + 0.5) / BALL - 1, y = 2 * (Math.floor(i / BALL) + 0.5) / BALL - 1, rest = 1 - x * x - y * y;
    vectors.set([x, y, -Math.sqrt(Math.max(rest, 0))], 3 * i);
    inside.push(rest >= 0);
  }
  const pixels = draw(task, vectors, 3);
  inside.forEach((is, i) => { if (!is) pixels[4 * i + 3] = 0; });
  const ball = paint(element("canvas", { ariaHidden: "true" }), pixels, BALL, BALL);
  const text = element("div", {}, "A ball in the same colours");
  if (task.axes) text.append(element("details", {}, element("summary", {}, "Axes"), task.axes));
  return element("div", { className: "ball" }, ball, text);
}

/** The three likeliest classes of a picture, from logits; without classes, the numbers. */
export function likeliest(task, logits) {
  if (!task.classes) return [[...logits].map(v => withUnit(task, v)).join(", ")];
  const most = Math.max(...logits), weights = [...logits].map(v => Math.exp(v - most)), sum = weights.reduce((a, b) => a + b);
  const sorted = weights.map((w, id) => [w / sum, id]).sort((a, b) => b[0] - a[0]).slice(0, 3);
  return sorted.map(([share, id]) => {
    const line = element("div", { className: "ends" }, nameOf(task, id), element("span", {}, `${(100 * share).toFixed(0)} %`));
    return element("div", { className: "answer" }, line, element("meter", { value: share, ariaHidden: "true" }));
  });
}

const ARROWS = ["→", "↘", "↓", "↙", "←", "↖", "↑", "↗"];

/** What the pixel `i` says, in words. */
export function reading(task, values, channels, i) {
  const at = values.subarray(i * channels, (i + 1) * channels);
  if (task.classes) return nameOf(task, classes(at, channels)[0]);
  if (task.ramp) return withUnit(task, at[0]);
  if (!drawable(task, channels)) return [...at].map(number).join(", ");
  const [x, y] = at, turn = Math.round(Math.atan2(y, x) / (Math.PI / 4) + 8) % 8;
  const arrow = Math.hypot(x, y) > 0.25 ? ARROWS[turn] : "⊙";
  return `${arrow} ${[...at].map(number).join(", ")}`;
}
