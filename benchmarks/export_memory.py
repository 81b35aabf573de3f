"""How much memory all tasks of an exported file take.

    python benchmarks/export_memory.py [--format litert|onnx] [--path FILE] [--size 256] [--quantize float16]

Opens a file through `rc_keras.export.runtime` in a fresh process and runs each task once; twice, since the first time
may pack weights that the second finds. Prints how much memory the process has taken since before the file was opened,
over the size of the file: the proportional set size, which counts a page of a mapped file once however often it is
mapped. Without `--path`, the file is a ResNet-18 with DeepLabv3+ and five tasks of different weights.
Linux only.
"""

import os
import subprocess
import sys
import tempfile

from absl import app, flags

_SUFFIXES = {"litert": ".tflite", "onnx": ""}
_LIBRARIES = {"litert": "ai_edge_litert.compiled_model", "onnx": "onnxruntime"}

_FORMAT = flags.DEFINE_enum("format", "litert", sorted(_SUFFIXES), "Format of the file.")
_PATH = flags.DEFINE_string("path", None, "An exported file; one is made by default.")
_SIZE = flags.DEFINE_integer("size", 256, "Height and width of the images.", lower_bound=32)
_QUANTIZE = flags.DEFINE_enum("quantize", None, ["float16", "dynamic_int8", "int8"], "Precision of the file made.")

_MEASURE = """
import importlib, sys
import numpy as np
from rc_keras.export.runtime import load

def memory():
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))

path, size, library = sys.argv[1], int(sys.argv[2]), sys.argv[3]
importlib.import_module(library)
image = np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype("uint8")
before = memory()
network = load(path, threads=1)
for task in network.tasks:
    network.run(image, task)
print(memory() - before)
"""


def export_five_tasks(path: str) -> None:
    """Tasks start alike, and what is alike is stored once: so their weights are moved apart."""
    import numpy as np

    import rc_keras
    import rc_keras.export

    generator = np.random.default_rng(0)
    shape = (_SIZE.value, _SIZE.value, 3)
    model = rc_keras.build(["edge", "semseg", "human_parts", "normals", "saliency"], image_shape=shape, seed=0)
    for task in model.tasks:
        for variable in model.branch(task).trainable_variables:
            noise = generator.normal(0.0, 1e-2, variable.shape).astype("float32")
            variable.assign_add(noise * np.abs(variable.numpy()).mean())
    options = {}
    if _QUANTIZE.value is not None:
        options["quantize"] = _QUANTIZE.value
    if _QUANTIZE.value == "int8":
        options["representative_data"] = generator.integers(0, 256, (4, *shape)).astype("uint8")
    rc_keras.export.export(model, path, _FORMAT.value, verbose=False, **options)


def size_of(path: str) -> int:
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(path) for name in names)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    with tempfile.TemporaryDirectory() as folder:
        path = _PATH.value
        if path is None:
            path = os.path.join(folder, "model" + _SUFFIXES[_FORMAT.value])
            export_five_tasks(path)
        command = [sys.executable, "-c", _MEASURE, path, str(_SIZE.value), _LIBRARIES[_FORMAT.value]]
        environment = {**os.environ, "XDG_CACHE_HOME": folder}
        for opening in ("first opening", "second opening"):
            output = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True).stdout
            grown, size = int(output.split()[-1]), size_of(path)
            print(f"{opening}: {grown / 1e6:.1f} MB, {grown / size:.2f} times the {size / 1e6:.1f} MB of the file")


if __name__ == "__main__":
    app.run(main)
