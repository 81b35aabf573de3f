"""The shared convolution of several maps."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras

from rc_keras.base.keras_types import Shape, Tensor
from rc_keras.layers.bank_conv2d import BankConv2D
from rc_keras.layers.concat_convolution import ConcatConvolution


@keras.saving.register_keras_serializable(package="rc_keras")
class BankConcatConv2D(ConcatConvolution, BankConv2D):
    """A `BankConv2D` of the concatenation of several maps, computed as `ConcatConv2D` is.

    Args:
        filters: number of filters, c_out.
        kernel_size: two odd integers, or one.
        reference: index of the input that gives the size of the output.
        kwargs: as of `BankConv2D`, but for strides, dilation and groups, which are 1, and "same" padding.

    Call arguments:
        inputs: a list of maps `(batch, h, w, c)`.

    Returns:
        The responses, `(batch, height, width, c_out)`.
    """

    def __init__(self, filters: int, kernel_size: int | Iterable[int], reference: int = 0, **kwargs: Any) -> None:
        super().__init__(filters, kernel_size, **{**kwargs, "padding": "same"})
        self.reference = reference

    def build(self, inputs_shape: Sequence[Shape]) -> None:
        self.channels = [shape[-1] for shape in inputs_shape]
        super().build((*inputs_shape[self.reference][:-1], sum(self.channels)))

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        return self.convolve(inputs, self.kernel)

    def compute_output_shape(self, inputs_shape: Sequence[Shape]) -> Shape:
        return (*inputs_shape[self.reference][:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "reference": self.reference}
