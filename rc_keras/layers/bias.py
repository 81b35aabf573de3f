"""A task's bias behind a filter bank."""

from typing import Any

import keras
from keras import initializers, ops

from rc_keras.base.keras_types import Initializer, Shape, Tensor


@keras.saving.register_keras_serializable(package="rc_keras")
class Bias(keras.layers.Layer):
    """Adds a bias to each channel: `y = z + b`.

    A convolution of the bank has none; with methods whose adapter holds none either, it is a layer of the task.

    Args:
        bias_initializer: how b starts.

    Call arguments:
        inputs: `(batch, height, width, channels)`.

    Returns:
        The same shape.
    """

    def __init__(self, bias_initializer: Initializer = "zeros", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bias_initializer = initializers.get(bias_initializer)

    def build(self, input_shape: Shape) -> None:
        self.bias = self.add_weight(name="bias", shape=(input_shape[-1],), initializer=self.bias_initializer)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.add(inputs, ops.cast(self.bias, inputs.dtype))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "bias_initializer": initializers.serialize(self.bias_initializer)}
