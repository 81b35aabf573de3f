"""What a task adds to a pointwise kernel of the bank: a matrix of low rank, kept as its two factors."""

from typing import Any, Self

import keras
import numpy as np
from keras import initializers, ops

from rc_keras.base.float64 import as_float64
from rc_keras.base.keras_types import Initializer, Shape, Tensor
from rc_keras.layers.low_rank_modulator import LowRankModulator


@keras.saving.register_keras_serializable(package="rc_keras")
class PointwiseModulator(LowRankModulator):
    """Recombines the responses of a pointwise kernel for one task: `y = (I + A_t B_t) z + b`, with z = W x.

    A whole matrix behind a 1x1 kernel would be as large as the kernel. Of rank r it has `2 r c_out` numbers, and
    `A_t (B_t W)` can become every update of rank r that LoRA's `W + A_t B_t` can (Hu et al., ICLR 2022), where W has
    the rank c_in; where it has fewer outputs, those within the rows of W. Over a network both have about as many
    numbers: the outputs of a layer are the inputs of the next. This form asks for the responses alone, so that it is
    the same whatever stride, groups or inputs the kernel has, and norms and biases fold as behind a `Modulator`.

    In exported files it stays two small matrices, see `factors`.

    Args:
        rank: r, at least 1.
        use_bias: whether a bias is added.
        bias_initializer: how b starts.
        kwargs: as of `LowRankModulator`.

    Call arguments:
        inputs: responses z, `(batch, height, width, c)`.

    Returns:
        The same shape.
    """

    suffix = "pointwise_modulator"

    def __init__(
        self, rank: int, use_bias: bool = False, bias_initializer: Initializer = "zeros", **kwargs: Any
    ) -> None:
        super().__init__(rank, **kwargs)
        self.use_bias = use_bias
        self.bias_initializer = initializers.get(bias_initializer)

    @classmethod
    def from_convolution(cls, convolution: keras.layers.Conv2D, **settings: Any) -> Self:
        return super().from_convolution(convolution, use_bias=convolution.use_bias, **settings)

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(input_shape[-1],), initializer=self.bias_initializer)

    def call(self, inputs: Tensor) -> Tensor:
        outputs = super().call(inputs)
        return outputs if self.bias is None else ops.add(outputs, ops.cast(self.bias, inputs.dtype))

    def linear_map(self) -> tuple[np.ndarray, np.ndarray]:
        matrix, _ = super().linear_map()
        return matrix, np.zeros(()) if self.bias is None else as_float64(self.bias)

    def factors(self) -> tuple[np.ndarray, np.ndarray]:
        return as_float64(self.down), as_float64(self.up)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "use_bias": self.use_bias,
            "bias_initializer": initializers.serialize(self.bias_initializer),
        }
