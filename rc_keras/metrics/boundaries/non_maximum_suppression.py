"""Suppression of the pixels of an edge map that are no maxima across the edge."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

SMOOTHING = 4
STRENGTH = 1.01
BORDER = 5


def suppress_non_maxima(probability: ArrayLike) -> np.ndarray:
    """Keeps the pixels that are maxima along the normal of the edge they lie on; sets the others to zero.

    With E the map, and S the map filtered with the triangle [1 2 3 4 5 4 3 2 1] / 25 along both axes (symmetric
    continuation at the border), the direction of the normal is

        O = arctan( S_yy · sign(−S_xy) / (S_xx + 1e-5) )  mod π

    where S_x, S_y are central differences along the columns and the rows (one-sided at the border), S_xx and S_xy the
    x-derivatives of S_x and S_y, S_yy the y-derivative of S_y. A pixel (x, y) stays when

        1.01 · E(x, y) >= E(x + d cos O, y + d sin O)    for d = −1 and d = 1,

    E being interpolated bilinearly with its coordinates clamped to the image. Last, the five outermost rows and columns
    on each side are damped: those at distance i from the border are multiplied by i / 5, so the outermost become zero.

    This follows the published description of the suppression in the structured edge detector (Dollár and Zitnick, "Fast
    edge detection using structured forests", 2015; r = 1, s = 5, m = 1.01). It has not been compared with its binary.

    Args:
        probability: `(H, W)` floats, each side at least 2.

    Returns:
        `(H, W)` float64, the surviving values.
    """
    edge = np.asarray(probability, dtype="float64")
    if edge.ndim != 2 or min(edge.shape) < 2:
        raise ValueError(f"`probability` must be a map (H, W) with sides of at least 2. Received: shape={edge.shape}")
    orientation = _orientation(edge)
    rows, columns = np.nonzero(edge)
    angle = orientation[rows, columns]
    strength = STRENGTH * edge[rows, columns]
    stays = np.ones(len(rows), dtype=bool)
    for step in (-1.0, 1.0):
        across = (rows + step * np.sin(angle), columns + step * np.cos(angle))
        stays &= strength >= ndimage.map_coordinates(edge, across, order=1, mode="nearest")
    suppressed = np.zeros_like(edge)
    suppressed[rows[stays], columns[stays]] = edge[rows[stays], columns[stays]]
    return suppressed * _border_ramp(edge.shape[0])[:, None] * _border_ramp(edge.shape[1])


def _orientation(edge: np.ndarray) -> np.ndarray:
    rising = np.arange(1.0, SMOOTHING + 2)
    triangle = np.concatenate([rising, rising[-2::-1]]) / (SMOOTHING + 1) ** 2
    smooth = ndimage.correlate1d(edge, triangle, axis=0, mode="reflect")
    smooth = ndimage.correlate1d(smooth, triangle, axis=1, mode="reflect")
    along_y, along_x = np.gradient(smooth)
    xx = np.gradient(along_x, axis=1)
    yy, xy = np.gradient(along_y)
    denominator = xx + 1e-5
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.arctan(yy * np.sign(-xy) / denominator)
    return np.mod(np.nan_to_num(angle), np.pi)


def _border_ramp(size: int) -> np.ndarray:
    width = min(BORDER, size // 2)
    ramp = np.ones(size)
    ramp[:width] *= np.arange(width) / width
    ramp[size - width :] *= np.arange(width)[::-1] / width
    return ramp
