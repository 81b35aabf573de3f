"""The convolution of several maps, resized and concatenated, in one layer."""

from collections.abc import Sequence
from typing import Any

import keras

from rc_keras.base.keras_types import Shape, Tensor
from rc_keras.layers.concat_convolution import ConcatConvolution
from rc_keras.layers.conv2d import Conv2D


@keras.saving.register_keras_serializable(package="rc_keras")
class ConcatConv2D(ConcatConvolution, Conv2D):
    """`Conv2D` of the concatenation of several maps, of which smaller ones are resized bilinearly before.

    Convolution and resizing are linear, so that the convolution of a resized map can be computed at the size it has,

        conv(up(a)) = Σ_k shift_k(up(W_k a)),

    with one matrix product W_k a for each tap k of the kernel, and shifts that fill with zeros as "same" padding does.
    Resizing and shift along one axis are one constant matrix, P (height, taps · h) and Q (width, taps · w). The sum is
    exact at the borders too. It is taken where it needs fewer multiply-accumulates than the plain convolution and
    where sizes are known; with a 1x1 kernel W a is resized, and a map of one pixel, as pooling leaves it, is added to
    every pixel, whatever the size.

    Args:
        filters: channels of the output.
        kernel_size: odd.
        reference: index of the input that gives the size of the output.
        kwargs: as of `keras.layers.Conv2D`, but for strides, dilation and groups, which are 1, and "same" padding.

    Call arguments:
        inputs: a list of maps `(batch, h, w, c)`, those that are resized with half-pixel centres, see `ResizeTo`.

    Returns:
        `(batch, height, width, filters)`.

    Raises:
        ValueError: if the kernel is even, or an argument of the convolution is another one than described.
    """

    def __init__(self, filters: int, kernel_size: int | Sequence[int], reference: int = 0, **kwargs: Any) -> None:
        super().__init__(filters, kernel_size, **{"padding": "same", **kwargs})
        geometry = {
            "strides": (1, 1),
            "dilation_rate": (1, 1),
            "groups": 1,
            "padding": "same",
            "data_format": "channels_last",
        }
        for name, value in geometry.items():
            if getattr(self, name) != value:
                raise ValueError(f"`{name}` must be {value!r}. Received: {name}={getattr(self, name)!r}")
        if not all(size % 2 for size in self.kernel_size):
            raise ValueError(f"`kernel_size` must be odd. Received: kernel_size={self.kernel_size}")
        self.reference = reference
        self.input_spec = None  # `Conv2D` has that of one map

    def build(self, inputs_shape: Sequence[Shape]) -> None:
        self.channels = [shape[-1] for shape in inputs_shape]
        super().build((*inputs_shape[self.reference][:-1], sum(self.channels)))
        self.input_spec = None

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        return self.activation(self.convolve(inputs, self.kernel, self.bias if self.use_bias else None))

    def compute_output_shape(self, inputs_shape: Any) -> Shape:
        one = not isinstance(inputs_shape[0], (tuple, list))  # as `Conv2D` asks while it is built
        return (*(inputs_shape if one else inputs_shape[self.reference])[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "reference": self.reference}
