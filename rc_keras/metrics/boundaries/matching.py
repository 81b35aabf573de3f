"""One-to-one matching of the pixels of two boundary maps within a tolerance."""

import math
from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage
from scipy.spatial import cKDTree

FREE = -1

# By the number of a true pixel, or of a predicted one.
_Mates: TypeAlias = list[int] | dict[int, int]
_Neighbours: TypeAlias = list[list[int]] | dict[int, list[int]]


def match_boundaries(predicted: ArrayLike, truth: ArrayLike, max_distance_pixels: float) -> int:
    """Size of the largest one-to-one matching of predicted to true boundary pixels.

    Two pixels may be matched when their Euclidean distance is at most the tolerance. The size is exact (a matching of
    maximum cardinality), and as no pixel is used twice it counts the matched pixels of either side.

    Args:
        predicted, truth: `(H, W)` maps, true or nonzero on the boundaries.
        max_distance_pixels: tolerance in pixels, not negative.

    Returns:
        The number of matched pairs.
    """
    predicted, truth = np.asarray(predicted), np.asarray(truth)
    if predicted.shape != truth.shape or truth.ndim != 2:
        raise ValueError(
            "`predicted` and `truth` must be maps (H, W) of one shape. "
            f"Received: predicted.shape={predicted.shape}, truth.shape={truth.shape}"
        )
    return BoundaryMatching(truth, max_distance_pixels).update(predicted)


class BoundaryMatching:
    """A maximum matching to one true map that is carried along while the predicted map changes.

    `update` drops the pairs of the pixels that have gone, pairs the new ones with free neighbours, and then looks for
    augmenting paths (Berge, 1957) until there is none: from all the free pixels of one side, which is enough, as every
    augmenting path has an end on either side. In one pass over the free pixels no pixel is visited twice (Pothen and
    Fan, 1990); the last pass finds nothing, which proves that the matching is of maximum cardinality. When the map
    changes little, nearly all of the matching is kept and there is little to search.

    Args:
        truth: `(H, W)` map, true or nonzero on the boundaries.
        max_distance_pixels: tolerance in pixels, not negative.
    """

    def __init__(self, truth: ArrayLike, max_distance_pixels: float) -> None:
        if not 0 <= max_distance_pixels < math.inf:
            raise ValueError(
                f"`max_distance_pixels` must be a number >= 0. Received: max_distance_pixels={max_distance_pixels!r}"
            )
        truth = np.asarray(truth).astype(bool)
        # Squared distances are integers: half way between two of them rounding decides nothing.
        self._radius = math.sqrt(math.floor(max_distance_pixels**2 + 1e-9) + 0.5)
        self._width = truth.shape[1]
        self._tree = self._near = None
        positions = np.argwhere(truth)
        if len(positions):
            self._tree = cKDTree(positions)
            self._near = ndimage.distance_transform_edt(~truth).reshape(-1) <= self._radius
        self._present = np.zeros(truth.size, dtype=bool)
        self._truth_of: dict[int, list[int]] = {}  # the true pixels in reach, kept for pixels that come back
        self._predicted_of: list[list[int]] = [[] for _ in range(len(positions))]
        self._mate_of_truth = [FREE] * len(positions)
        self._mate_of_predicted: dict[int, int] = {}  # of the present pixels in reach of a true one

    def update(self, predicted: ArrayLike) -> int:
        """Takes the new predicted map `(H, W)` and returns the number of matched pairs."""
        tree = self._tree
        if tree is None:
            return 0
        present = np.asarray(predicted).astype(bool).reshape(-1) & self._near
        changed = np.flatnonzero(present != self._present)
        arrives = present[changed]
        self._present = present
        self._remove(changed[~arrives].tolist())
        self._insert(changed[arrives], tree)
        free_truth = [t for t, mate in enumerate(self._mate_of_truth) if mate == FREE and self._predicted_of[t]]
        free_predicted = [p for p, mate in self._mate_of_predicted.items() if mate == FREE]
        if len(free_truth) < len(free_predicted):
            _augment(free_truth, self._predicted_of, self._mate_of_truth, self._mate_of_predicted)
        else:
            _augment(free_predicted, self._truth_of, self._mate_of_predicted, self._mate_of_truth)
        return len(self._mate_of_truth) - self._mate_of_truth.count(FREE)

    def _remove(self, pixels: Iterable[int]) -> None:
        for p in pixels:
            for t in self._truth_of[p]:
                self._predicted_of[t].remove(p)
            mate = self._mate_of_predicted.pop(p)
            if mate != FREE:
                self._mate_of_truth[mate] = FREE

    def _insert(self, pixels: np.ndarray, tree: cKDTree) -> None:
        truth_of, mate_of_truth = self._truth_of, self._mate_of_truth
        unknown = np.array([p for p in pixels.tolist() if p not in truth_of], dtype="int64")
        if len(unknown):
            positions = np.stack(np.divmod(unknown, self._width), axis=1)
            truth_of.update(zip(unknown.tolist(), tree.query_ball_point(positions, self._radius), strict=True))
        for p in pixels.tolist():
            self._mate_of_predicted[p] = FREE
            for t in truth_of[p]:
                self._predicted_of[t].append(p)
        for p in pixels.tolist():
            for t in truth_of[p]:
                if mate_of_truth[t] == FREE:
                    mate_of_truth[t] = p
                    self._mate_of_predicted[p] = t
                    break


def _augment(free: list[int], neighbours: _Neighbours, mate: _Mates, other_mate: _Mates) -> None:
    """Augments the matching from the `free` pixels of one side until it is of maximum cardinality."""
    found = True
    while found and free:
        found = False
        seen: dict[int, int] = {}
        still_free = []
        for start in free:
            if _augment_from(start, seen, neighbours, mate, other_mate):
                found = True
            else:
                still_free.append(start)
        free = still_free


def _augment_from(start: int, seen: dict[int, int], neighbours: _Neighbours, mate: _Mates, other_mate: _Mates) -> bool:
    """Breadth-first search; `seen` holds the visited pixels of the other side and whence they were reached."""
    queue = [start]
    for here in queue:
        for there in neighbours[here]:
            if there not in seen:
                seen[there] = here
                onward = other_mate[there]
                if onward == FREE:
                    _flip(there, start, seen, mate, other_mate)
                    return True
                queue.append(onward)
    return False


def _flip(end: int, start: int, seen: dict[int, int], mate: _Mates, other_mate: _Mates) -> None:
    here = FREE
    while here != start:
        here = seen[end]
        previous = mate[here]
        mate[here] = end
        other_mate[end] = here
        end = previous
