"""The shapes that objects are put together from, and how they turn."""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from rc_keras.zoo.rendering.solids import BOX, ELLIPSOID, FRUSTUM, Solid

Vector: TypeAlias = Sequence[float] | np.ndarray


def box(centre: Vector, size: Vector, part: int, coat: int = 0, axes: np.ndarray | None = None) -> Solid:
    """Returns a box of full `size` about `centre`."""
    axes = np.eye(3) if axes is None else axes
    return Solid(BOX, np.array(centre, float), axes, np.array(size, float) / 2, 1.0, part, coat)


def ball(centre: Vector, radii: Vector | float, part: int, coat: int = 0, axes: np.ndarray | None = None) -> Solid:
    """Returns an ellipsoid with the half axes `radii`."""
    axes = np.eye(3) if axes is None else axes
    radii = np.broadcast_to(np.array(radii, float), 3)
    return Solid(ELLIPSOID, np.array(centre, float), axes, radii, 1.0, part, coat)


def limb(start: Vector, end: Vector, start_radius: float, end_radius: float, part: int, coat: int = 0) -> Solid:
    """Returns a frustum from `start` to `end`."""
    start, end = np.array(start, float), np.array(end, float)
    x, y, z = end - start
    length = math.sqrt(x * x + y * y + z * z)
    x, y, z = x / length, y / length, z / length
    # The frustum's own x axis is level, or along x for an upright one.
    level = math.hypot(x, y)
    c, s = (-y / level, x / level) if level > 1e-6 else (1.0, 0.0)
    axes = np.array([[c, s, 0.0], [-z * s, z * c, x * s - y * c], [x, y, z]])
    half = np.array([start_radius, start_radius, length / 2])
    return Solid(FRUSTUM, (start + end) / 2, axes, half, end_radius / start_radius, part, coat)


def turn(angle: float) -> np.ndarray:
    """Returns the (3, 3) rotation by `angle` radians about the z axis."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
