"""The shared convolution of the filter bank."""

from collections.abc import Iterable
from typing import Any

import keras

from rc_keras.base import convolution
from rc_keras.base.keras_types import Shape, Tensor


@keras.saving.register_keras_serializable(package="rc_keras")
class BankConv2D(keras.layers.Layer):
    """A frozen convolution, shared by all tasks: `s = W_s * x` (RCM, equation 2).

    It has no bias and no activation: both belong to the task, behind the modulator. The kernel is created with
    `trainable=False`, so no `trainable` flag of a model or a layer can thaw it.

    Args:
        filters: number of filters, c_out.
        kernel_size: k_h and k_w, or one integer for both.
        strides: two integers, or one.
        padding: `"valid"` or `"same"`.
        dilation_rate: two integers, or one.
        groups: number of channel groups; divides c_in and c_out.

    Call arguments:
        inputs: `(batch, height, width, c_in)`.

    Returns:
        The responses, `(batch, new_height, new_width, c_out)`.

    Raises:
        ValueError: if a size, stride or rate is not one or two positive integers.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Iterable[int],
        strides: int | Iterable[int] = (1, 1),
        padding: str = "valid",
        dilation_rate: int | Iterable[int] = (1, 1),
        groups: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size: tuple[int, ...] = _pair("kernel_size", kernel_size)
        self.strides = _pair("strides", strides)
        self.padding = padding
        self.dilation_rate = _pair("dilation_rate", dilation_rate)
        self.groups = groups

    def build(self, input_shape: Shape) -> None:
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, input_shape[-1] // self.groups, self.filters),
            initializer="zeros",
            trainable=False,
        )

    def call(self, inputs: Tensor) -> Tensor:
        return convolution.conv2d(inputs, self.kernel, self.strides, self.padding, self.dilation_rate)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return keras.ops.conv(
            keras.KerasTensor(input_shape),
            keras.KerasTensor((*self.kernel_size, input_shape[-1], self.filters)),  # groups do not change the shape
            strides=list(self.strides),
            padding=self.padding,
            data_format="channels_last",
            dilation_rate=list(self.dilation_rate),
        ).shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "dilation_rate": self.dilation_rate,
            "groups": self.groups,
        }


def _pair(name: str, value: int | Iterable[int]) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or not all(isinstance(size, int) and size > 0 for size in pair):
        raise ValueError(f"`{name}` must be a positive integer, or two. Received: {name}={value!r}")
    return pair
