"""Squeeze and excitation: a gate for each channel, set by the whole map."""

import math
from typing import Any

import keras
from keras import initializers, ops

from rc_keras.base.keras_types import Initializer, Shape, Tensor
from rc_keras.layers.adapter import Adapter


@keras.saving.register_keras_serializable(package="rc_keras")
class SqueezeExcite(Adapter):
    """Gates channels by what the image holds: `y = 2 σ(W_2 relu(W_1 GAP(x) + b_1) + b_2) ⊙ x`.

    The block of Hu et al. (CVPR 2018), which ASTMT gives each task (Maninis et al., CVPR 2019, section 3.1). The factor
    2, which the norm in front could hold as well, and W_2 = 0 let a pretrained network start unchanged: the gate is 1.

    Args:
        reduction: channels over hidden units.
        squeeze_initializer, excite_initializer: how W_1 and W_2 start.

    Call arguments:
        inputs: `(batch, height, width, channels)`.

    Returns:
        The same shape.
    """

    suffix = "squeeze_excite"

    def __init__(
        self,
        reduction: int = 16,
        squeeze_initializer: Initializer = "he_normal",
        excite_initializer: Initializer = "zeros",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.reduction = reduction
        self.squeeze_initializer = initializers.get(squeeze_initializer)
        self.excite_initializer = initializers.get(excite_initializer)

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[-1]
        hidden = max(1, channels // self.reduction)
        self.squeeze = self.add_weight(name="squeeze", shape=(channels, hidden), initializer=self.squeeze_initializer)
        self.squeeze_bias = self.add_weight(name="squeeze_bias", shape=(hidden,), initializer="zeros")
        self.excite = self.add_weight(name="excite", shape=(hidden, channels), initializer=self.excite_initializer)
        self.excite_bias = self.add_weight(name="excite_bias", shape=(channels,), initializer="zeros")

    def draw(self, seed: int) -> None:
        """Assigns a random W_1."""
        self.squeeze.assign(initializers.HeNormal(seed=seed)(self.squeeze.shape))

    def macs(self, positions: int) -> int:
        return 2 * math.prod(self.squeeze.shape) + positions * self.squeeze.shape[0]

    def call(self, inputs: Tensor) -> Tensor:
        pooled = ops.mean(inputs, axis=(1, 2))
        hidden = ops.relu(ops.add(ops.matmul(pooled, self.squeeze), self.squeeze_bias))
        gate = 2.0 * ops.sigmoid(ops.add(ops.matmul(hidden, self.excite), self.excite_bias))
        return ops.multiply(inputs, gate[:, None, None, :])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "reduction": self.reduction,
            "squeeze_initializer": initializers.serialize(self.squeeze_initializer),
            "excite_initializer": initializers.serialize(self.excite_initializer),
        }
