"""The linear map that a trained adapter amounts to."""

import keras
import numpy as np

from rc_keras.layers import Bias, ChannelModulation, LowRankModulator, Modulator, SeriesAdapter
from rc_keras.layers.modulator import TINY

MATRICES = (Modulator, SeriesAdapter, LowRankModulator)  # mix channels
DIAGONALS = (ChannelModulation, Bias)  # scale or shift each channel


def matrix_of(adapter: keras.layers.Layer) -> tuple[np.ndarray, np.ndarray | float]:
    """Matrix and offset of an adapter in float64: `y = z @ matrix + offset`.

    The matrix of one that does not mix channels is its diagonal, `(c,)`: `y = z * diagonal + offset`. The paper's
    matrices stand transposed here, as everywhere in Keras.

    Args:
        adapter: a layer of one of the classes in `MATRICES` or `DIAGONALS`, or a batch norm.
    """
    if isinstance(adapter, keras.layers.BatchNormalization):
        return scale_and_offset(adapter)
    if isinstance(adapter, Modulator):
        matrix = as_float64(adapter.direction)
        if adapter.gain is not None:
            lengths = np.sqrt(np.maximum(np.sum(np.square(matrix), axis=0), TINY))
            matrix = matrix / lengths * as_float64(adapter.gain)
        return matrix, 0.0 if adapter.bias is None else as_float64(adapter.bias)
    if isinstance(adapter, SeriesAdapter):
        scale, offset = scale_and_offset(adapter.norm)
        kernel = as_float64(adapter.kernel)
        return np.eye(len(kernel)) + scale[:, None] * kernel, offset @ kernel
    if isinstance(adapter, LowRankModulator):
        return np.eye(adapter.down.shape[0]) + as_float64(adapter.down) @ as_float64(adapter.up), 0.0
    if isinstance(adapter, ChannelModulation):
        return as_float64(adapter.scale), 0.0
    return np.ones(adapter.bias.shape), as_float64(adapter.bias)


def scale_and_offset(norm: keras.layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    """Scale and offset of a batch norm in float64, by its moving statistics: `y = scale x + offset`."""
    scale = 1.0 / np.sqrt(as_float64(norm.moving_variance) + norm.epsilon)
    if norm.scale:
        scale = scale * as_float64(norm.gamma)
    offset = -scale * as_float64(norm.moving_mean)
    return scale, offset + as_float64(norm.beta) if norm.center else offset


def as_float64(variable: keras.Variable) -> np.ndarray:
    """The values of a variable, for folding."""
    return keras.ops.convert_to_numpy(variable).astype("float64")
