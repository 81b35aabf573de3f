// A folder of ONNX graphs in onnxruntime-web: one graph for each task, the bank fetched once for all.

import * as ort from "onnxruntime-web";
import { fetchBytes } from "./files.js";

const BANK = "bank.bin";
const weightsOf = file => file.replace(/\.onnx$/, ".bin");

/**
 * Opens the folder.
 * @param description what the export says about itself.
 * @param url of the folder, with a slash at its end.
 * @param threads how many to compute with at most.
 * @returns an object: `run(name, image, shape)` answers `{task: {values, dims}}` of the task `name`, or of all tasks
 *   for the graph of all; `bytes()` and `bytesOf(task)` say how much was fetched; and the runtime's `name` and `threads`.
 */
export async function open(description, url, threads) {
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = new URL("./", import.meta.resolve("onnxruntime-web")).href;
  const files = {}, sessions = {}, sizes = {};

  /** A file's bytes, fetched once; null where there is none. */
  const get = name => files[name] ??= fetchBytes(url + name, { optional: true }).then(bytes => {
    sizes[name] = bytes?.length ?? 0;
    return bytes;
  });

  async function create(name) {
    const together = name === description.joint, graph = together ? `${name}.onnx` : description.tasks.find(t => t.name === name).file;
    const weights = [BANK, ...(together ? description.tasks : [{ file: graph }]).map(task => weightsOf(task.file))];
    const [model, ...data] = await Promise.all([graph, ...weights].map(get));
    if (!model) throw Error(`${graph} is missing beside this page.`);
    const externalData = weights.map((path, i) => ({ path, data: data[i] })).filter(({ data }) => data?.length);
    return ort.InferenceSession.create(model, { externalData });
  }

  return {
    name: "onnxruntime-web", threads,
    bytes: () => Object.values(sizes).reduce((sum, n) => sum + n, 0),
    bytesOf: task => { const size = (sizes[task.file] ?? 0) + (sizes[weightsOf(task.file)] ?? 0); return size || null; },
    async run(name, image, shape) {
      const session = await (sessions[name] ??= create(name));
      const outputs = await session.run({ image: new ort.Tensor("float32", image, shape) });
      return Object.fromEntries(Object.entries(outputs).map(([task, y]) => [task, { values: y.data, dims: y.dims }]));
    },
  };
}
