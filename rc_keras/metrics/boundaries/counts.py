"""Counts of matched boundary pixels of one image."""

from collections.abc import Sequence

import numpy as np

from .matching import BoundaryMatching
from .non_maximum_suppression import suppress_non_maxima
from .thinning import thin

IGNORE = 255


def boundary_counts(
    label: np.ndarray, probability: np.ndarray, thresholds: Sequence[float], max_distance: float, suppress: bool
) -> np.ndarray:
    """Counts of one image at every threshold.

    The map is suppressed (`suppress_non_maxima`) as a whole; then the ignored pixels are cut from it and from the
    truth; at each threshold, the pixels above it are thinned and matched to the thinned truth.

    Args:
        label: `(H, W)` integers, 1 on boundaries, 0 elsewhere, 255 on ignored pixels.
        probability: `(H, W)` float64, 0..1.
        thresholds: increasing, a pixel is predicted when its value is greater.
        max_distance: tolerance as a fraction of the diagonal of the image.
        suppress: whether to suppress non-maxima first.

    Returns:
        `(len(thresholds), 4)` int64: matched predicted, predicted, matched true, true pixels.
    """
    edge = suppress_non_maxima(probability) if suppress else probability.copy()
    edge[label == IGNORE] = 0.0
    truth = thin(label == 1)
    matching = BoundaryMatching(truth, max_distance * np.hypot(*label.shape))
    counts = np.zeros((len(thresholds), 4), dtype="int64")
    counts[:, 3] = truth.sum()
    above, matched, predicted = 0, 0, 0
    # From high to low the set above the threshold only grows, and most of the matching remains.
    for i in reversed(range(len(thresholds))):
        binary = edge > thresholds[i]
        size = np.count_nonzero(binary)
        if size != above:
            above = size
            lines = thin(binary)
            predicted = np.count_nonzero(lines)
            matched = matching.update(lines)
        counts[i, :3] = matched, predicted, matched
    return counts
