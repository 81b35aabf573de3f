// The pictures side by side: one of the input, one of each task.

import { draw, shapeOf } from "./drawing.js";
import { element, paint } from "./elements.js";
import { legend, likeliest, reading } from "./legend.js";
import { megabytes } from "./files.js";

/** The kind of a task, where its name does not say it. */
const kindOf = task => task.kind === task.name ? "" : task.kind;

/** A figure: a canvas over a caption, or a caption alone. */
class View {
  constructor(title, note, onPoint) {
    this.canvas = element("canvas", { tabIndex: 0, width: 1, height: 1 });
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", title);
    this.mark = element("span", { className: "mark", hidden: true });
    this.frame = element("div", { className: "frame" }, this.canvas, this.mark);
    this.note = element("span", {}, note);
    this.value = element("output", { className: "value" });
    this.legend = element("div", { className: "legend" });
    const name = element("div", { className: "name" }, element("b", {}, title), this.note);
    this.element = element("figure", {}, this.frame, element("figcaption", {}, name, this.value, this.legend));
    this.canvas.addEventListener("pointermove", event => {
      const box = this.canvas.getBoundingClientRect();
      onPoint((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    });
  }

  point(x, y) {
    this.mark.hidden = false;
    this.mark.style.left = `${100 * x}%`;
    this.mark.style.top = `${100 * y}%`;
  }
}

/** All figures of an export, `parent`'s children. */
export class Views {
  constructor(parent, description, [height, width]) {
    this.at = null;
    const point = (x, y) => this.point(x, y);
    this.input = new View("picture", `${width} × ${height}`, point);
    this.input.value.remove();
    this.tasks = Object.fromEntries(description.tasks.map(task => [task.name, new View(task.name, kindOf(task), point)]));
    this.answers = {};
    const count = description.tasks.length + 1, rows = Math.ceil(count / 5);
    parent.style.setProperty("--columns", Math.ceil(count / rows));  // where there is room, rows of the same length
    parent.append(this.input.element);
    for (const task of description.tasks) {
      const view = this.tasks[task.name];
      parent.append(view.element);
      view.frame.classList.toggle("exact", Boolean(task.classes));
      if (!task.dense) view.frame.remove();
      else paint(view.canvas, new Uint8ClampedArray(4 * width * height), width, height);
    }
    this.canvas = this.input.canvas;
    paint(this.canvas, new Uint8ClampedArray(4 * width * height), width, height);
    parent.addEventListener("keydown", event => this.key(event));
  }

  /** Shows the answer of a task, and says how long it took, where that is known, and what its files weigh. */
  show(task, { values, dims }, milliseconds, bytes) {
    const view = this.tasks[task.name];
    const facts = [milliseconds === null ? null : `${milliseconds.toFixed(0)} ms`, bytes === null ? null : megabytes(bytes)];
    view.note.textContent = facts.filter(Boolean).join(" · ") || kindOf(task);
    if (!task.dense) return view.legend.replaceChildren(...likeliest(task, values));
    const { height, width, channels } = shapeOf(task, dims);
    this.answers[task.name] = { task, values, height, width, channels };
    paint(view.canvas, draw(task, values, channels), width, height);
    view.legend.replaceChildren(legend(task, values, channels));
    if (this.at) this.point(...this.at);
  }

  /** Reads all pictures at a place, `x` and `y` in 0 … 1. */
  point(x, y) {
    x = Math.min(Math.max(x, 0), 1);
    y = Math.min(Math.max(y, 0), 1);
    this.at = [x, y];
    this.input.point(x, y);
    for (const { task, values, height, width, channels } of Object.values(this.answers)) {
      const column = Math.min(Math.floor(x * width), width - 1), row = Math.min(Math.floor(y * height), height - 1);
      this.tasks[task.name].point(x, y);
      this.tasks[task.name].value.textContent = reading(task, values, channels, row * width + column);
    }
  }

  key(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step || event.target.tagName !== "CANVAS") return;
    event.preventDefault();
    const [x, y] = this.at ?? [0.5, 0.5], far = event.shiftKey ? 10 : 1;
    this.point(x + far * step[0] / this.canvas.width, y + far * step[1] / this.canvas.height);
  }
}
