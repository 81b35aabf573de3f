"""A process that counts boundary pixels. This file is also what that process runs.

The process is started afresh and loads this folder alone: nothing of the parent is copied (it may hold a GPU and
running threads), its main program is not imported again, and neither Keras nor its backend is. Numbers travel over its
standard streams as plain bytes.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import IO, Any, cast

import numpy as np


class WorkerProcess:
    """Counts boundary pixels in a process of its own.

    Args:
        thresholds, max_distance, suppress: see `boundary_counts`.
    """

    def __init__(self, thresholds: Sequence[float], max_distance: float, suppress: bool) -> None:
        self.thresholds = thresholds
        self.settings = {"thresholds": list(thresholds), "max_distance": max_distance, "suppress": suppress}
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), json.dumps(self.settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )

    def counts(self, label: np.ndarray, probability: np.ndarray) -> np.ndarray:
        """`boundary_counts` of a uint8 label and a float64 map; waits for the process."""
        try:
            stream, answers = (cast(IO[bytes], pipe) for pipe in (self.process.stdin, self.process.stdout))
            stream.write(np.array(label.shape, dtype="int64").tobytes() + label.tobytes() + probability.tobytes())
            stream.flush()
            received = answers.read(len(self.thresholds) * 4 * 8)
        except OSError as error:
            raise RuntimeError("A worker process of the boundary scores has ended.") from error
        if len(received) < len(self.thresholds) * 4 * 8:
            raise RuntimeError("A worker process of the boundary scores has ended.")
        return np.frombuffer(received, dtype="int64").reshape(-1, 4)

    def close(self) -> None:
        """Ends the process, whatever it is doing."""
        self.process.kill()
        self.process.wait()
        for stream in filter(None, (self.process.stdin, self.process.stdout)):
            with contextlib.suppress(OSError):  # of bytes that the process no longer took
                stream.close()


def serve(settings: dict[str, Any]) -> None:
    """Answers images from standard input with counts on standard output until the input ends."""
    boundary_counts = _load_counts()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while header := source.read(16):
        shape = tuple(np.frombuffer(header, dtype="int64"))
        size = int(shape[0] * shape[1])
        label = np.frombuffer(source.read(size), dtype="uint8").reshape(shape)
        probability = np.frombuffer(source.read(8 * size), dtype="float64").reshape(shape)
        sink.write(boundary_counts(label, probability, **settings).tobytes())
        sink.flush()


def _load_counts() -> Callable[..., np.ndarray]:
    """Imports this folder as a package of its own, without its parents."""
    import importlib.util

    folder = os.path.dirname(os.path.abspath(__file__))
    path = os.path.join(folder, "__init__.py")
    spec: Any = importlib.util.spec_from_file_location("boundaries", path, submodule_search_locations=[folder])
    package = importlib.util.module_from_spec(spec)
    sys.modules["boundaries"] = package
    spec.loader.exec_module(package)
    return importlib.import_module("boundaries.counts").boundary_counts


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
