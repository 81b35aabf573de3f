"""How much memory exporting takes at its peak.

    python benchmarks/export_peak_memory.py [--exports onnx,onnx:joint,litert] [--tasks 4] [--size 256]

For each export, in a fresh process: builds a ResNet-18 with DeepLabv3+ and tasks of different weights, runs every task
once, exports them, and prints the largest resident memory of the process during the export (Linux's VmHWM) besides what
it had before. Ends with 1 if that is more than `--limit` GB. Linux only.
"""

import os
import subprocess
import sys
import tempfile

from absl import app, flags

_EXPORTS = flags.DEFINE_list(
    "exports", ["onnx", "onnx:joint", "litert", "saved_model:joint"], "Exporters, with :joint for all tasks in one too."
)
_TASKS = flags.DEFINE_integer("tasks", 4, "Number of tasks.", lower_bound=1, upper_bound=5)
_SIZE = flags.DEFINE_integer("size", 256, "Height and width of the images.", lower_bound=32)
_LIMIT = flags.DEFINE_float("limit", 1.5, "GB that an export may take besides the model.")

_MEASURE = """
import importlib, os, sys
import numpy as np
import rc_keras
from rc_keras.export.formats.registry import FORMATS, REGISTRY

def memory(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(f"{key}:"))

name, joint, tasks, size, path = sys.argv[1], sys.argv[2] == "joint", int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
format = next(format for format in REGISTRY.values() if format.name == name)
format.import_packages()
names = ["semseg", "depth", "normals", "edge", "saliency"][:tasks]
model = rc_keras.build(names, image_shape=(size, size, 3), seed=0)
generator = np.random.default_rng(0)
for task in names:  # tasks start alike, and what is alike is stored once
    for variable in model.branch(task).trainable_variables:
        noise = generator.normal(0.0, 1e-2, variable.shape).astype("float32")
        variable.assign_add(noise * np.abs(variable.numpy()).mean())
    model.branch(task)(np.zeros((1, size, size, 3), "float32"))
before = memory("VmRSS")
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak begins anew
report = FORMATS[format.keyword](model, path + format.suffix, joint=joint, verbose=False)
print(before, memory("VmHWM"), report.file_bytes)
"""


def main(argv: list[str]) -> int:
    if len(argv) > 1:
        raise app.UsageError(f"Arguments must be flags. Received: {argv[1:]}")
    print(f"{'export':<20}{'model, GB':>12}{'peak, GB':>12}{'besides, GB':>14}{'written, GB':>14}")
    largest = 0.0
    for export in _EXPORTS.value:
        name, _, joint = export.partition(":")
        with tempfile.TemporaryDirectory() as folder:
            arguments = [name, joint or "-", str(_TASKS.value), str(_SIZE.value), os.path.join(folder, "m")]
            output = subprocess.run(
                [sys.executable, "-c", _MEASURE, *arguments],
                check=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ},
            ).stdout
        model, peak, written = (int(text) / 1e9 for text in output.splitlines()[-1].split())
        largest = max(largest, peak - model)
        print(f"{export:<20}{model:>12.2f}{peak:>12.2f}{peak - model:>14.2f}{written:>14.2f}", flush=True)
    if largest > _LIMIT.value:
        print(f"More than the {_LIMIT.value} GB of --limit", file=sys.stderr)
    return int(largest > _LIMIT.value)


if __name__ == "__main__":
    app.run(main)
