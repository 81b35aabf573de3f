"""A factor for each channel of a filter bank's responses."""

from typing import Any

import keras
import numpy as np
from keras import initializers, ops

from rc_keras.base.float64 import as_float64
from rc_keras.base.keras_types import Initializer, Shape, Tensor
from rc_keras.layers.adapter import Adapter


@keras.saving.register_keras_serializable(package="rc_keras")
class ChannelModulation(Adapter):
    """Scales the responses of a filter bank for one task, channel by channel: `y = m_t ⊙ z`.

    The modulation of Zhao et al. ("A Modulation Module for Multi-task Learning", ECCV 2018), on every convolution and
    without their ReLU on the mask; a `Modulator` whose matrix is diagonal.

    Args:
        scale_initializer: how `m_t` starts.

    Call arguments:
        inputs: responses, `(batch, height, width, channels)`.

    Returns:
        The same shape.
    """

    suffix = "channel_modulation"

    def __init__(self, scale_initializer: Initializer = "ones", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale_initializer = initializers.get(scale_initializer)

    def build(self, input_shape: Shape) -> None:
        self.scale = self.add_weight(name="scale", shape=(input_shape[-1],), initializer=self.scale_initializer)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.multiply(inputs, ops.cast(self.scale, inputs.dtype))

    def size(self, c_in: int, c_out: int) -> int:
        return c_out

    def macs(self, positions: int) -> int:
        return positions * self.scale.shape[0]

    def linear_map(self) -> tuple[np.ndarray, np.ndarray]:
        return as_float64(self.scale), np.zeros(())

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale_initializer": initializers.serialize(self.scale_initializer)}
