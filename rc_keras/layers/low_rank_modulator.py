"""A modulator that differs from the identity by a matrix of low rank."""

from typing import Any

import keras
from keras import initializers, ops

from rc_keras.base import convolution
from rc_keras.base.keras_types import Initializer, Shape, Tensor


@keras.saving.register_keras_serializable(package="rc_keras")
class LowRankModulator(keras.layers.Layer):
    """Recombines the responses of a filter bank for one task: `y = (I + A_t B_t) z`.

    A_t is `(c, r)` and starts at zero, so that the layer starts as the identity; B_t is `(r, c)` and starts at random
    (as LoRA; Hu et al., ICLR 2022). `down` holds B_t and `up` holds A_t, transposed as everywhere in Keras.

    Args:
        rank: r, at least 1.
        down_initializer, up_initializer: how B_t and A_t start.

    Call arguments:
        inputs: responses z, `(batch, height, width, c)`.

    Returns:
        The same shape.
    """

    def __init__(
        self,
        rank: int,
        down_initializer: Initializer = "glorot_uniform",
        up_initializer: Initializer = "zeros",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(rank, int) or rank < 1:
            raise ValueError(f"`rank` must be a positive integer. Received: rank={rank!r}")
        self.rank = rank
        self.down_initializer = initializers.get(down_initializer)
        self.up_initializer = initializers.get(up_initializer)

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[-1]
        self.down = self.add_weight(name="down", shape=(channels, self.rank), initializer=self.down_initializer)
        self.up = self.add_weight(name="up", shape=(self.rank, channels), initializer=self.up_initializer)

    def draw(self, seed: int) -> None:
        """Assigns a random B_t."""
        self.down.assign(initializers.GlorotUniform(seed=seed)(self.down.shape))

    def call(self, inputs: Tensor) -> Tensor:
        down, up = (ops.cast(matrix, inputs.dtype) for matrix in (self.down, self.up))
        return ops.add(inputs, convolution.pointwise(convolution.pointwise(inputs, down), up))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "rank": self.rank,
            "down_initializer": initializers.serialize(self.down_initializer),
            "up_initializer": initializers.serialize(self.up_initializer),
        }
