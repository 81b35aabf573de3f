"""Boundaries of a map of regions, one pixel wide: those to train on and those to measure with."""

import numpy as np
import scipy.ndimage

from rc_keras.metrics.boundaries import thin


def boundaries(label_map: np.ndarray) -> np.ndarray:
    """thin(|Laplacian(L)| > 0): the edges that the tasks are trained on.

    The Laplacian has four neighbours, and the map is mirrored at the border without repeating it.

    Args:
        label_map: integer array `(H, W)`, a number for each region.

    Returns:
        uint8 array `(H, W)`, 1 on boundaries.
    """
    return thin(scipy.ndimage.laplace(label_map.astype(np.int64), mode="mirror") != 0).astype(np.uint8)


def evaluation_boundaries(label_map: np.ndarray) -> np.ndarray:
    """thin(seg2bmap(L)): the edges that seism, the published evaluation, matches predictions with.

    `seg2bmap` (Martin, 2003) marks the pixels that differ from the neighbour to the right, below, or below to the
    right, so its boundaries lie half a pixel to the upper left of where the regions meet. The last row looks to the
    right alone, the last column below alone.

    Args:
        label_map: integer array `(H, W)`, a number for each region.

    Returns:
        uint8 array `(H, W)`, 1 on boundaries.
    """
    differs = np.zeros(label_map.shape, dtype=bool)
    differs[:, :-1] |= label_map[:, :-1] != label_map[:, 1:]
    differs[:-1] |= label_map[:-1] != label_map[1:]
    differs[:-1, :-1] |= label_map[:-1, :-1] != label_map[1:, 1:]
    return thin(differs).astype(np.uint8)
