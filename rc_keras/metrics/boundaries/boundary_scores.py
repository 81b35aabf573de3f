"""F-measures and average precision of boundary detection over a data set."""

import concurrent.futures
import math
import os
import queue
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from .counts import IGNORE, boundary_counts
from .worker_process import WorkerProcess

THRESHOLDS = (0.001, *(i / 100 for i in range(1, 100)), 0.999)
RECALLS = np.linspace(0.0, 1.0, 101)


class BoundaryScores:
    """ODS, OIS and AP of boundary detection (Martin et al., 2004; Arbeláez et al., 2011; seism, Pont-Tuset 2016).

    For an image: suppress the non-maxima of the probability map (`suppress_non_maxima`; optional), and for each
    threshold t take the pixels above t, `thin` them, and match them one to one to the thinned true boundaries within
    `max_distance` times the diagonal (`match_boundaries`, maximum cardinality). Over the images

        P(t) = Σ matched predicted / Σ predicted      R(t) = Σ matched true / Σ true      F = 2 P R / (P + R)

        ODS   max over t of F(t)
        OIS   F of the counts summed over the images, each at the threshold of its own best F
        AP    0.01 times the sum of the precision at the 101 recalls 0, 0.01, …, 1, interpolated linearly between the
              measured points: below the lowest and above the highest measured recall it is 0, of equal recalls the
              highest threshold counts, and of a single measured recall AP is 0.

    This AP is the benchmark's of BSDS500, and depends on how low the recall gets that the thresholds reach: a map of
    few values has a low one however good it is. A quotient over nothing is 0, so a threshold without any predicted
    pixel is the point (0, 0), and all scores are 0 when there is no true boundary or nothing was predicted. Of
    thresholds with the same F the highest is taken. Ignored pixels count on neither side: they are cut from the map
    (after suppression) and from the truth, before thinning. A label drawn two pixels wide is thinned too, as a thin
    prediction could not match it one to one; thin labels stay as they are.

    Benchmarks that store predictions as 8-bit images quantise them first: pass `round(255 p) / 255` to do as they do.

    Args:
        max_distance: tolerance as a fraction of the image diagonal: 0.0075 on PASCAL-Context, 0.011 on NYUD.
        suppress: whether to suppress non-maxima before thresholding, as the stock seism reader does.
        thresholds: increasing numbers in 0..1; default the 101 of HED: 0.001, 0.01, 0.02, …, 0.99, 0.999.
        workers: processes to count in; by default as many as cores; 0 or 1: this one.

    Example:
        >>> with BoundaryScores(max_distance=0.011) as scores:
        ...     for label, probability in validation:
        ...         scores.add(label, probability)
        ...     print(scores.result()["ods_f"])
    """

    def __init__(
        self,
        max_distance: float = 0.011,
        suppress: bool = True,
        thresholds: Iterable[float] | None = None,
        workers: int | None = None,
    ) -> None:
        if not 0 <= max_distance < math.inf:
            raise ValueError(f"`max_distance` must be a number >= 0. Received: max_distance={max_distance!r}")
        given = THRESHOLDS if thresholds is None else tuple(float(t) for t in thresholds)
        rising = all(a < b for a, b in zip(given, given[1:], strict=False))
        if not given or not rising or not given[0] >= 0 or not given[-1] <= 1:
            raise ValueError(f"`thresholds` must be increasing numbers in 0..1. Received: thresholds={thresholds!r}")
        if workers is not None and (not isinstance(workers, int) or workers < 0):
            raise ValueError(f"`workers` must be None or a whole number >= 0. Received: workers={workers!r}")
        self.max_distance = float(max_distance)
        self.suppress = bool(suppress)
        self.thresholds = given
        self.workers = _cores() if workers is None else workers
        self._counts = np.zeros((len(given), 4), dtype="int64")
        self._best_counts = np.zeros(4, dtype="int64")
        self._idle: queue.Queue[WorkerProcess] = queue.Queue()
        self._threads: concurrent.futures.ThreadPoolExecutor | None = None
        self._processes: list[WorkerProcess] = []
        self._pending: set[concurrent.futures.Future[np.ndarray]] = set()

    @property
    def counts(self) -> np.ndarray:
        """`(thresholds, 4)` int64, over the images so far: matched predicted, predicted, matched true, true pixels."""
        self._collect(wait=True)
        return self._counts.copy()

    @property
    def best_counts(self) -> np.ndarray:
        """`(4,)` int64, the same with each image at the threshold of its own best F."""
        self._collect(wait=True)
        return self._best_counts.copy()

    def add(self, label: ArrayLike, probability: ArrayLike) -> None:
        """Adds one image; with workers, returns as soon as one of them has taken it.

        Args:
            label: `(H, W)` or `(H, W, 1)`, 1 on boundaries, 0 elsewhere, 255 where ignored.
            probability: `(H, W)` or `(H, W, 1)` floats, 0..1.
        """
        label, probability = _checked(label, probability)
        if self.workers <= 1:
            self._include(boundary_counts(label, probability, self.thresholds, self.max_distance, self.suppress))
            return
        self._collect(wait=False)
        threads = self._start()
        process = self._idle.get()
        self._pending.add(threads.submit(self._count, process, label, probability))

    def result(self) -> dict[str, float]:
        """The scores of the images so far: `ods_f`, `ods_threshold`, `ods_precision`, `ods_recall`, `ois_f`, `ap`."""
        counts, best_counts = self.counts, self.best_counts
        precision, recall, f = _precision_recall_f(counts)
        ods = _best(f)
        return {
            "ods_f": float(f[ods]),
            "ods_threshold": self.thresholds[ods],
            "ods_precision": float(precision[ods]),
            "ods_recall": float(recall[ods]),
            "ois_f": float(_precision_recall_f(best_counts)[2]),
            "ap": average_precision(precision, recall),
        }

    def merge(self, other: "BoundaryScores") -> None:
        """Adds the images of another evaluator with the same settings; that one stays as it is."""
        for name in ("max_distance", "suppress", "thresholds"):
            if getattr(self, name) != getattr(other, name):
                raise ValueError(
                    f"`other` must have the same {name}={getattr(self, name)!r}. "
                    f"Received: other.{name}={getattr(other, name)!r}"
                )
        counts, best_counts = other.counts, other.best_counts
        self._collect(wait=True)
        self._counts += counts
        self._best_counts += best_counts

    def close(self) -> None:
        """Ends the worker processes; images that are still being counted are dropped. Scores stay readable."""
        for process in self._processes:
            process.close()
        if self._threads is not None:
            self._threads.shutdown()
        self._processes, self._pending, self._threads, self._idle = [], set(), None, queue.Queue()

    def __enter__(self) -> "BoundaryScores":
        return self

    def __exit__(self, error: type[BaseException] | None, *details: object) -> None:
        try:
            if error is None:
                self._collect(wait=True)
        finally:
            self.close()

    def _start(self) -> concurrent.futures.ThreadPoolExecutor:
        if self._threads is None:
            self._threads = concurrent.futures.ThreadPoolExecutor(self.workers)
            for _ in range(self.workers):
                self._processes.append(WorkerProcess(self.thresholds, self.max_distance, self.suppress))
                self._idle.put(self._processes[-1])
        return self._threads

    def _count(self, process: WorkerProcess, label: np.ndarray, probability: np.ndarray) -> np.ndarray:
        idle = self._idle
        try:
            return process.counts(label, probability)
        finally:
            idle.put(process)

    def _collect(self, wait: bool) -> None:
        """Takes what the workers have finished into the sums; raises what went wrong there."""
        if wait:
            concurrent.futures.wait(self._pending)
        done = {future for future in self._pending if future.done()}
        self._pending -= done
        for future in done:
            self._include(future.result())

    def _include(self, counts: np.ndarray) -> None:
        self._counts += counts
        self._best_counts += counts[_best(_precision_recall_f(counts)[2])]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _checked(label: ArrayLike, probability: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    label, probability = (_without_channel(np.asarray(x)) for x in (label, probability))
    if label.shape != probability.shape or label.ndim != 2 or min(label.shape) < 2:
        raise ValueError(
            "`label` and `probability` must be maps (H, W) of one shape, with sides of at least 2. "
            f"Received: label.shape={label.shape}, probability.shape={probability.shape}"
        )
    if not np.issubdtype(probability.dtype, np.floating) or not np.all((probability >= 0) & (probability <= 1)):
        raise ValueError(
            "`probability` must be floats in 0..1. Received: "
            f"dtype={probability.dtype}, from {np.min(probability)} to {np.max(probability)}"
        )
    if not np.all((label == 0) | (label == 1) | (label == IGNORE)):
        wrong = np.setdiff1d(label, [0, 1, IGNORE])[:5].tolist()
        raise ValueError(f"`label` must be 0, 1 or {IGNORE} (ignored). Received: label with {wrong}")
    return np.ascontiguousarray(label, dtype="uint8"), np.ascontiguousarray(probability, dtype="float64")


def _without_channel(x: np.ndarray) -> np.ndarray:
    return x[..., 0] if x.ndim == 3 and x.shape[-1] == 1 else x


def _precision_recall_f(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    precision = counts[..., 0] / np.maximum(counts[..., 1], 1)
    recall = counts[..., 2] / np.maximum(counts[..., 3], 1)
    # 2 P R / (P + R), written with the counts: as many are matched on either side.
    f = 2 * counts[..., 0] / np.maximum(counts[..., 1] + counts[..., 3], 1)
    return precision, recall, f


def _best(f: np.ndarray) -> int:
    return len(f) - 1 - int(np.argmax(f[::-1]))


def average_precision(precision: np.ndarray, recall: np.ndarray) -> float:
    """AP of a curve as the benchmark of BSDS500 takes it, see `BoundaryScores`.

    Args:
        precision, recall: `(thresholds,)`, by rising threshold.

    Returns:
        The sum over 101 recalls / 100.
    """
    recalls, indices = np.unique(recall[::-1], return_index=True)
    if len(recalls) < 2:
        return 0.0
    precisions = np.interp(RECALLS, recalls, precision[::-1][indices], left=0.0, right=0.0)
    return float(np.sum(precisions) / 100)
