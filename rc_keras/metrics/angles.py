"""Angles between vectors, exact in float32."""

import math

from keras import ops

from rc_keras.base.keras_types import Tensor


def angles_in_degrees(a: Tensor, b: Tensor) -> Tensor:
    """Angle between the vectors of two maps.

    For unit vectors a and b it is 2 atan2(‖a − b‖, ‖a + b‖), which equals arccos⟨a, b⟩ and stays
    exact in float32 near 0 and 180 degrees. Both sides are normalized first.

    Args:
        a: `(…, 3)`, of any positive length.
        b: `(…, 3)`, likewise.

    Returns:
        Degrees in 0 … 180, `(…)`.
    """
    a, b = _unit(a), _unit(b)
    return ops.arctan2(_length(a - b), _length(a + b)) * (360.0 / math.pi)


def _length(x: Tensor) -> Tensor:
    return ops.sqrt(ops.sum(ops.square(x), axis=-1))


def _unit(x: Tensor) -> Tensor:
    return x / ops.maximum(_length(x), 1e-12)[..., None]
