"""A task's bias behind a filter bank."""

from typing import Any

import keras
import numpy as np
from keras import initializers, ops

from rc_keras.base.float64 import as_float64
from rc_keras.base.keras_types import Initializer, Shape, Tensor
from rc_keras.layers.adapter import Adapter


@keras.saving.register_keras_serializable(package="rc_keras")
class Bias(Adapter):
    """Adds a bias to each channel: `y = z + b`.

    A convolution of the bank has none; with methods whose adapter holds none either, it is a layer of the task.

    Args:
        bias_initializer: how b starts.

    Call arguments:
        inputs: `(batch, height, width, channels)`.

    Returns:
        The same shape.
    """

    suffix = "bias"
    use_bias = True

    def __init__(self, bias_initializer: Initializer = "zeros", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bias_initializer = initializers.get(bias_initializer)

    def build(self, input_shape: Shape) -> None:
        self.bias = self.add_weight(name="bias", shape=(input_shape[-1],), initializer=self.bias_initializer)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.add(inputs, ops.cast(self.bias, inputs.dtype))

    def linear_map(self) -> tuple[np.ndarray, np.ndarray]:
        return np.ones(()), as_float64(self.bias)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "bias_initializer": initializers.serialize(self.bias_initializer)}
