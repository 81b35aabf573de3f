"""A modulator that differs from the identity by a matrix of low rank."""

from typing import Any, Self

import keras
import numpy as np
from keras import initializers, ops

from rc_keras.base.convolution import pointwise
from rc_keras.base.float64 import as_float64
from rc_keras.base.keras_types import Initializer, Shape, Tensor
from rc_keras.layers.adapter import Adapter


@keras.saving.register_keras_serializable(package="rc_keras")
class LowRankModulator(Adapter):
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

    suffix = "low_rank"

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

    @classmethod
    def from_convolution(cls, convolution: keras.layers.Conv2D, **settings: Any) -> Self:
        start = initializers.GlorotUniform(seed=0)  # each task draws its own
        return super().from_convolution(convolution, down_initializer=start, **settings)

    def size(self, c_in: int, c_out: int) -> int:
        return 2 * self.rank * c_out

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[-1]
        self.down = self.add_weight(name="down", shape=(channels, self.rank), initializer=self.down_initializer)
        self.up = self.add_weight(name="up", shape=(self.rank, channels), initializer=self.up_initializer)

    def draw(self, seed: int) -> None:
        """Assigns a random B_t."""
        self.down.assign(initializers.GlorotUniform(seed=seed)(self.down.shape))

    def call(self, inputs: Tensor) -> Tensor:
        down, up = (ops.cast(matrix, inputs.dtype) for matrix in (self.down, self.up))
        return ops.add(inputs, pointwise(pointwise(inputs, down), up))

    def linear_map(self) -> tuple[np.ndarray, np.ndarray]:
        return np.eye(self.down.shape[0]) + as_float64(self.down) @ as_float64(self.up), np.zeros(())

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "rank": self.rank,
            "down_initializer": initializers.serialize(self.down_initializer),
            "up_initializer": initializers.serialize(self.up_initializer),
        }
