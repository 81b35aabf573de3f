"""What sharing costs in time: a task with bank and modulators apart, against the same task merged.

    python benchmarks/export_latency.py [--format litert|onnx|tf_saved_model] [--size 256] [--threads 1] [--rounds 30]

Exports one task of a ResNet-18 with DeepLabv3+ in both modes and runs the two files in turn through
`rc_keras.export.runtime`, so that whatever else the machine does falls on both alike. Prints the medians, the quartiles
and the ratio.
"""

import os
import tempfile
import time
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from absl import app, flags

import rc_keras
import rc_keras.export
from rc_keras.export.formats.network import Network
from rc_keras.export.formats.registry import REGISTRY
from rc_keras.export.runtime import load

_FORMAT = flags.DEFINE_enum("format", "litert", sorted(REGISTRY), "Format of the files.")
_SIZE = flags.DEFINE_integer("size", 256, "Height and width of the images.", lower_bound=32)
_THREADS = flags.DEFINE_integer("threads", 1, "Threads to compute with.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 30, "Runs of each file.", lower_bound=2)


def interleaved_seconds(
    networks: Mapping[str, Network], image: np.ndarray, task: str, rounds: int
) -> dict[str, list[float]]:
    """`{name: seconds of every run}`, the networks taking turns; the first two turns are not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for turn in range(rounds + 2):
        for name, network in networks.items():
            begin = time.perf_counter()
            network.run(image, task)
            if turn >= 2:
                seconds[name].append(time.perf_counter() - begin)
    return seconds


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    threads = _THREADS.value
    if _FORMAT.value == "tf_saved_model":  # whose threads are those of the whole process
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        threads = None
    shape = (_SIZE.value, _SIZE.value, 3)
    model = rc_keras.build(["semseg"], image_shape=shape, seed=0)
    image = np.random.default_rng(0).integers(0, 256, shape).astype("uint8")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder  # packed weights go with the files
        networks = {}
        for mode in ("shared", "merged"):
            path = os.path.join(folder, mode + REGISTRY[_FORMAT.value].suffix)
            rc_keras.export.export(model, path, _FORMAT.value, mode=mode, verbose=False)
            networks[mode] = load(path, threads=threads)
        seconds = interleaved_seconds(networks, image, "semseg", _ROUNDS.value)
    for mode, values in seconds.items():
        low, median, high = 1e3 * np.percentile(values, (25, 50, 75))
        print(f"{mode:<8}{median:8.1f} ms  (quartiles {low:.1f} to {high:.1f}, {_ROUNDS.value} runs)")
    ratios = np.divide(seconds["shared"], seconds["merged"])
    low, high = np.percentile(ratios, (25, 75))
    ratio = np.median(seconds["shared"]) / np.median(seconds["merged"])
    print(f"shared / merged: {ratio:.3f}  (quartiles of the turns {low:.3f} to {high:.3f})")


if __name__ == "__main__":
    app.run(main)
