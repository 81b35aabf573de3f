"""What a task adds to a pointwise kernel of the bank, as the two small matrices that it is made of."""

from collections.abc import MutableMapping
from typing import Any

import keras
import numpy as np

from rc_keras.base.keras_types import Tensor
from rc_keras.export.folding.direct_conv2d import DirectConv2D
from rc_keras.layers import Adapter
from rc_keras.layers.batch_normalization import scale_and_offset


class FactorParts:
    """The parts of `y = z + up(down(z)) + b`, with the norm behind it: `s ⊙ z + (s up)(down(z)) + s (b - μ) + β`.

    They are called `<name>_down`, `<name>_up` and `<name>`, the sum. Where there is a norm, s is a depthwise 1x1
    convolution, `<name>_scale`: converters would multiply a plain factor into the kernel of the bank.

    Args:
        name: of the adapter.
        factors: what its `factors` answers.
        bias: the offset of its `linear_map`.
        norm: behind it; `None`: there is none.
        weights: `{name: weights}` of layers, to which those of the new ones are added.
    """

    def __init__(
        self,
        name: str,
        factors: tuple[np.ndarray, np.ndarray],
        bias: np.ndarray,
        norm: keras.layers.BatchNormalization | None,
        weights: MutableMapping[str, list[Any]],
    ) -> None:
        down, up = factors
        scale, offset = (np.ones(up.shape[1]), 0.0) if norm is None else scale_and_offset(norm)
        settings: dict[str, Any] = {"dtype": "float32", "use_bias": False}
        self._down = DirectConv2D(down.shape[1], 1, name=f"{name}_down", **settings)
        self._up = DirectConv2D(up.shape[1], 1, name=f"{name}_up", dtype="float32")
        self._scale = None if norm is None else keras.layers.DepthwiseConv2D(1, name=f"{name}_scale", **settings)
        self._add = keras.layers.Add(dtype="float32", name=name)
        weights[self._down.name] = [down[None, None].astype("float32")]
        weights[self._up.name] = [
            (up * scale)[None, None].astype("float32"),
            np.broadcast_to(scale * bias + offset, up.shape[1:]).astype("float32"),
        ]
        weights[f"{name}_scale"] = [scale[None, None, :, None].astype("float32")]

    def __call__(self, responses: Tensor) -> Tensor:
        scaled = responses if self._scale is None else self._scale(responses)
        return self._add([scaled, self._up(self._down(responses))])


def smaller_factors(adapter: keras.Operation) -> tuple[np.ndarray, np.ndarray] | None:
    """The factors of an adapter, if with a scale for each channel they are fewer numbers than its matrix."""
    found = adapter.factors() if isinstance(adapter, Adapter) else None
    if found is None:
        return None
    channels, rank = found[0].shape
    return found if 2 * rank + 1 < channels else None
