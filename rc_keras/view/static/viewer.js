// The page: opens the export it was written for, and computes every task of a picture.

import { closeCamera, fit, numbers, openCamera, readPicture } from "./source.js";
import { megabytes } from "./files.js";
import { Views } from "./views.js";

const FREE_SIZE = 256;  // pixels, where the network takes any
const MOST_THREADS = 8;
const $ = id => document.getElementById(id);
const page = document.body.dataset;

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}
const fail = error => { console.error(error); say(error.message || String(error), true); };

async function describe() {
  const answer = await fetch(page.description);
  if (!answer.ok) throw Error(`${page.description} is missing beside this page.`);
  const description = await answer.json();
  if (description.format !== "rc_keras.description" || description.format_version !== 1)
    throw Error(`${page.description} must be a description of version 1. Export the model again.`);
  return description;
}

async function start() {
  if (typeof WebAssembly !== "object") throw Error("This browser has no WebAssembly, which this page computes with.");
  const description = await describe(), input = description.input;
  const [batch, height, width] = [input.shape[0] ?? 1, ...input.shape.slice(1, 3).map(n => n ?? FREE_SIZE)];
  const views = new Views($("views"), description, [height, width]);
  say("Loading the runtime and the model …");
  const threads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS) : 1;
  const { open } = await import(`./${page.runtime}.js`);
  const network = await open(description, page.model, threads);
  $("engine").textContent = `${network.name}, ${network.threads === 1 ? "one thread" : `${network.threads} threads`}` +
    (self.crossOriginIsolated ? "." : ": the server of this page does not send the headers (COOP and COEP) that more need; python -m rc_keras.view does.");
  const about = () => {
    const count = description.tasks.length;
    $("about").textContent = [description.precision, `${width} × ${height} pixels`, `${count} task${count > 1 ? "s" : ""}`,
      network.bytes() ? megabytes(network.bytes()) : null, description.license].filter(Boolean).join(" · ");
  };
  about();
  document.querySelector(".together").hidden = !description.joint;

  async function compute(source) {
    fit(views.canvas, source, width, height);
    viewer.image = numbers(views.canvas, batch);
    const shape = [batch, height, width, 3], begin = performance.now();
    const together = description.joint && $("together").checked;
    let answers = {};
    if (together) answers = await network.run(description.joint, viewer.image, shape);
    for (const task of description.tasks) {
      const before = performance.now();
      if (!together) answers = await network.run(task.name, viewer.image, shape);
      const took = together ? null : performance.now() - before, { values, dims } = answers[task.name];
      viewer.answers[task.name] = { values: values.subarray(0, values.length / batch), dims: [1, ...dims.slice(1)] };
      views.show(task, viewer.answers[task.name], took, network.bytesOf(task));
      if (!together) await new Promise(requestAnimationFrame);
    }
    about();
    const took = performance.now() - begin, each = (took / description.tasks.length).toFixed(0);
    say(`${together ? "All tasks in one call" : "All tasks, one by one"}: ${took.toFixed(0)} ms, ${each} ms a task.`);
  }

  let wanted = null, running = null, last = null;
  /** Computes a picture, after the one that is being computed; of several that wait, the last. */
  function show(source) {
    wanted = last = source;
    running ??= (async () => {
      try {
        while (wanted) {
          const next = wanted;
          wanted = null;
          await compute(next);
        }
      } finally {
        running = null;
      }
    })();
    return running;
  }
  return { description, network, show, again: () => last && show(last) };
}

/** What is on the page, for the console: `description`, `image` and `answers`, as numbers. */
const viewer = globalThis.viewer = { image: null, answers: {}, ready: false };

function connect({ show, again }) {
  let video = null;
  const stop = () => {
    if (video) closeCamera(video);
    video = null;
    $("camera").setAttribute("aria-pressed", "false");
    $("camera").textContent = "Use the camera";
  };
  const examples = [...document.querySelectorAll("#examples button")];
  const press = chosen => examples.forEach(button => button.setAttribute("aria-pressed", String(button === chosen)));
  const take = async (picture, example = null) => {
    stop();
    press(example);
    try {
      await show(await picture);
    } catch (error) {
      fail(error);
    }
  };
  $("file").addEventListener("change", event => {
    if (event.target.files.length) take(readPicture(event.target.files[0]));
    event.target.value = "";
  });
  for (const button of examples)
    button.addEventListener("click", () => take(button.firstChild.decode().then(() => createImageBitmap(button.firstChild)), button));
  $("together").addEventListener("change", () => again()?.catch(fail));
  document.addEventListener("dragover", event => event.preventDefault());
  document.addEventListener("drop", event => {
    event.preventDefault();
    if (event.dataTransfer.files.length) take(readPicture(event.dataTransfer.files[0]));
  });
  document.addEventListener("paste", event => {
    const file = [...event.clipboardData.files].find(file => file.type.startsWith("image/"));
    if (file) take(readPicture(file));
  });
  $("camera").addEventListener("click", async () => {
    if (video) return stop();
    press(null);
    try {
      const opened = video = await openCamera();
      $("camera").setAttribute("aria-pressed", "true");
      $("camera").textContent = "Stop the camera";
      while (video === opened) {
        await show(opened);
        await new Promise(requestAnimationFrame);
      }
    } catch (error) {
      stop();
      fail(error);
    }
  });
  if (examples.length) return take(examples[0].firstChild.decode().then(() => createImageBitmap(examples[0].firstChild)), examples[0]);
  say("Choose a picture.");
}

try {
  const started = await start();
  viewer.description = started.description;
  await connect(started);
} catch (error) {
  fail(error);
}
viewer.ready = true;
