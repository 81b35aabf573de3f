"""Labels that are read off the instance and depth maps."""

import numpy as np

SALIENT_AREA = 0.01
SALIENT_REACH = 1.25


def object_edges(instance: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Returns the visible boundaries of object instances.

    A pixel is an edge where one of its four neighbours belongs to another instance that is not
    nearer: the boundary lies on the object that hides the other one, one pixel wide, and turns
    with the image.

    Args:
        instance: (height, width) integers.
        depth: (height, width) metres.

    Returns:
        (height, width) uint8, 0 or 1.
    """
    edge = np.zeros(instance.shape, bool)
    for axis in (0, 1):
        first, second = ((slice(None),) * axis + (part,) for part in (slice(None, -1), slice(1, None)))
        differ = instance[first] != instance[second]
        edge[first] |= differ & (depth[first] <= depth[second])
        edge[second] |= differ & (depth[second] <= depth[first])
    return edge.astype(np.uint8)


def saliency(instance: np.ndarray, depth: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Returns the foreground: the nearest objects.

    An object counts if it covers at least `SALIENT_AREA` of the image. The nearest such object
    is salient, and so is each whose nearest visible point is at most `SALIENT_REACH` times as
    far.

    Args:
        instance: (height, width) integers.
        depth: (height, width) metres.
        candidates: (instances,) bool, which instances may be salient.

    Returns:
        (height, width) uint8, 0 or 1.
    """
    area = np.bincount(instance.ravel(), minlength=len(candidates))
    nearest = np.full(len(candidates), np.inf)
    np.minimum.at(nearest, instance.ravel(), depth.ravel())
    counted = candidates & (area >= SALIENT_AREA * instance.size)
    if not counted.any():
        return np.zeros(instance.shape, np.uint8)
    salient = counted & (nearest <= SALIENT_REACH * nearest[counted].min())
    return salient[instance].astype(np.uint8)
