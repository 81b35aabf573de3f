// A .tflite file in LiteRT.js: one file, a signature for each task.

import * as litert from "@litertjs/core";
import { fetchBytes } from "./files.js";

const wasm = new URL("../wasm/", import.meta.resolve("@litertjs/core"));

/** Threads need a page that is isolated, a browser that has relaxed SIMD, and the runtime beside the page. */
async function load(threads) {
  if (threads > 1 && wasm.origin === location.origin && await litert.supportsFeature("relaxedSimd")) {
    await litert.loadLiteRt(wasm.href, { threads: true });
    return threads;
  }
  await litert.loadLiteRt(wasm.href);
  return 1;
}

/** Opens the file; see `open` in onnx.js. */
export async function open(description, url, threads) {
  const file = await fetchBytes(url);
  const used = await load(threads);
  const network = await litert.loadAndCompile(file, { accelerator: "wasm", cpuOptions: { numThreads: used } });
  return {
    name: "LiteRT.js", threads: used, bytes: () => file.length, bytesOf: () => null,
    async run(name, image, shape) {
      const x = new litert.Tensor(image, shape);
      let outputs = {};
      try {
        outputs = await network.run(name, { image: x });
        const answers = {};
        for (const [task, y] of Object.entries(outputs))
          answers[task] = { values: (await y.data()).slice(), dims: [...y.type.layout.dimensions] };
        return answers;
      } finally {
        x.delete();
        for (const y of Object.values(outputs)) y.delete();
      }
    },
  };
}
