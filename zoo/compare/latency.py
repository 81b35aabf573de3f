"""Time and memory of exported networks, measured so that other work on the machine does not count."""

import dataclasses
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping

import numpy as np

from rc_keras.export.formats.network import Network
from rc_keras.export.runtime import load

ROUNDS = 30
_UNCOUNTED = 2

_MEMORY = """
import sys
import numpy as np
import ai_edge_litert.compiled_model
from rc_keras.export.runtime import load

def now(what):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(what))

path, cache, *shape = sys.argv[1:]
image = np.zeros([int(size) for size in shape], "uint8")
before = now("VmRSS:")
with load(path, threads=1, cache_dir=cache) as network:
    network.run(image)
print(now("VmHWM:") - before)
"""


@dataclasses.dataclass(frozen=True)
class Latency:
    """Time of all tasks on one image, with one thread, beside that of a reference.

    Attributes:
        seconds: median CPU seconds.
        reference_seconds: those of the reference.
        ratio: median over the rounds of one over the other.
        ratio_quartiles: the first and the third.
        rounds: how many.
    """

    seconds: float
    reference_seconds: float
    ratio: float
    ratio_quartiles: tuple[float, float]
    rounds: int

    @classmethod
    def of(cls, seconds: np.ndarray, reference_seconds: np.ndarray) -> "Latency":
        """From the seconds of every round, of both."""
        ratios = np.divide(seconds, reference_seconds)
        low, ratio, high = map(float, np.percentile(ratios, (25, 50, 75)))
        return cls(float(np.median(seconds)), float(np.median(reference_seconds)), ratio, (low, high), len(ratios))


def compare_latency(
    path: str | os.PathLike, reference: str | os.PathLike, image: np.ndarray, rounds: int = ROUNDS
) -> Latency:
    """Runs two exported files in turn, in this process and with one thread.

    Args:
        path, reference: `.tflite` files of this package.
        image: `(height, width, channels)` in 0..255.
        rounds: how often each runs all its tasks, in one call where the file has a signature for that; two more rounds
            before them are not counted.
    """
    with (
        tempfile.TemporaryDirectory() as cache,
        load(path, threads=1, cache_dir=cache) as network,
        load(reference, threads=1, cache_dir=cache) as other,
    ):
        seconds = interleaved_seconds({"network": network, "reference": other}, image, rounds)
    return Latency.of(seconds["network"], seconds["reference"])


def interleaved_seconds(
    networks: Mapping[str, Network], image: np.ndarray, rounds: int, clock: Callable[[], float] = time.thread_time
) -> dict[str, np.ndarray]:
    """`{name: seconds of all tasks in every round}`, the networks taking turns, in one order and the other.

    Args:
        networks: `{name: Network}`, each with one thread: `clock` counts only the thread that calls.
        image: `(height, width, channels)`.
        rounds: how many count.
        clock: function that answers seconds; CPU seconds of this thread, so that other processes' are not in it.
    """
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for turn in range(rounds + _UNCOUNTED):
        for name in sorted(networks, reverse=bool(turn % 2)):
            begin = clock()
            networks[name].run(image)
            if turn >= _UNCOUNTED:
                seconds[name].append(clock() - begin)
    return {name: np.array(values) for name, values in seconds.items()}


def peak_memory(path: str | os.PathLike, shape: tuple[int, ...]) -> int | None:
    """By how many bytes a process grows at most that opens a `.tflite` file and runs all tasks once.

    Pages of mapped files count. The weights have been packed by an earlier process, as they are from the second start
    of a product on.

    Args:
        path: the file.
        shape: `(height, width, channels)` of the image.

    Returns:
        Bytes; `None` on systems other than Linux.
    """
    if not pathlib.Path("/proc/self/status").exists():
        return None
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-c", _MEMORY, os.fspath(path), cache, *map(str, shape)]
        for _ in ("packs", "finds them"):
            output = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    return int(output.split()[-1])
