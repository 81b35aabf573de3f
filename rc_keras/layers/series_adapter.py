"""The series residual adapter behind a filter bank."""

from typing import Any

import keras
import numpy as np
from keras import initializers, ops

from rc_keras.base.convolution import pointwise
from rc_keras.base.float64 import as_float64
from rc_keras.base.keras_types import Initializer, Shape, Tensor
from rc_keras.layers.adapter import Adapter
from rc_keras.layers.batch_normalization import BatchNormalization, scale_and_offset


@keras.saving.register_keras_serializable(package="rc_keras")
class SeriesAdapter(Adapter):
    """Adapts the responses of a filter bank for one task: `y = z + W_t BN_t(z)`.

    The residual adapter of Rebuffi et al. (NeurIPS 2017), on every convolution and before the task's own norm, as RCM
    compares with (Kanakis et al., ECCV 2020). W_t starts at zero, so that the layer starts as the identity.

    Args:
        kernel_initializer: how W_t starts.
        momentum, epsilon: of BN_t.

    Call arguments:
        inputs: responses z, `(batch, height, width, c)`.
        training: whether BN_t uses, and moves by, the statistics of the batch.

    Returns:
        The same shape.
    """

    suffix = "series_adapter"

    def __init__(
        self, kernel_initializer: Initializer = "zeros", momentum: float = 0.9, epsilon: float = 1e-5, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.momentum = momentum
        self.epsilon = epsilon
        self.norm = BatchNormalization(momentum=momentum, epsilon=epsilon, dtype=self.dtype_policy, name="norm")

    def size(self, c_in: int, c_out: int) -> int:
        return c_out * c_out + 2 * c_out

    def build(self, input_shape: Shape) -> None:
        self.norm.build(input_shape)
        channels = input_shape[-1]
        self.kernel = self.add_weight(name="kernel", shape=(channels, channels), initializer=self.kernel_initializer)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        normalized = self.norm(inputs, training=training)
        return ops.add(inputs, pointwise(normalized, ops.cast(self.kernel, inputs.dtype)))

    def linear_map(self) -> tuple[np.ndarray, np.ndarray]:
        scale, offset = scale_and_offset(self.norm)
        kernel = as_float64(self.kernel)
        return np.eye(len(kernel)) + scale[:, None] * kernel, offset @ kernel

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
        }
