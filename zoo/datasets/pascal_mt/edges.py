"""Boundaries of a map of regions, one pixel wide."""

import numpy as np
import scipy.ndimage

from rc_keras.metrics.boundaries import thin


def boundaries(label_map):
    """thin(|Laplacian(L)| > 0): the edges that the tasks are trained on.

    The Laplacian has four neighbours, and the map is mirrored at the border without repeating it.

    Args:
        label_map: integer array `(H, W)`, a number for each region.

    Returns:
        uint8 array `(H, W)`, 1 on boundaries.
    """
    return thin(scipy.ndimage.laplace(label_map.astype(np.int64), mode="mirror") != 0).astype(np.uint8)
