"""The parallel residual adapter beside a filter bank."""

from collections.abc import Iterable
from typing import Any, Self

import keras
from keras import initializers, ops

from rc_keras.base.convolution import pointwise
from rc_keras.base.keras_types import Initializer, Shape, Tensor
from rc_keras.layers.adapter import Adapter


@keras.saving.register_keras_serializable(package="rc_keras")
class ParallelAdapter(Adapter):
    """Adds a 1x1 convolution of the input of a bank convolution to its responses: `y = z + W_t x`.

    The parallel residual adapter of Rebuffi et al. (CVPR 2018). W_t reads the pixel under the centre of the bank's
    kernel: it adds to that tap of the kernel alone, whatever stride, dilation and padding. It starts at zero, so that
    the responses are unchanged.

    Args:
        kernel_size, strides, padding, dilation_rate: of the bank convolution.
        kernel_initializer: how W_t starts.

    Call arguments:
        responses: z, `(batch, new_height, new_width, c_out)`.
        inputs: x, the input of the bank convolution, `(batch, height, width, c_in)`.

    Returns:
        The shape of the responses.
    """

    suffix = "parallel_adapter"
    takes_inputs = True

    def __init__(
        self,
        kernel_size: Iterable[int],
        strides: Iterable[int] = (1, 1),
        padding: str = "valid",
        dilation_rate: Iterable[int] = (1, 1),
        kernel_initializer: Initializer = "zeros",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_size = tuple(kernel_size)
        self.strides = tuple(strides)
        self.padding = padding
        self.dilation_rate = tuple(dilation_rate)
        self.kernel_initializer = initializers.get(kernel_initializer)

    @classmethod
    def from_convolution(cls, convolution: keras.layers.Conv2D, **settings: Any) -> Self:
        return super().from_convolution(
            convolution,
            kernel_size=convolution.kernel_size,
            strides=convolution.strides,
            padding=convolution.padding,
            dilation_rate=convolution.dilation_rate,
            **settings,
        )

    def size(self, c_in: int, c_out: int) -> int:
        return c_in * c_out

    def build(self, responses_shape: Shape, inputs_shape: Shape) -> None:
        self.kernel = self.add_weight(
            name="kernel",
            shape=(inputs_shape[-1], responses_shape[-1]),
            initializer=self.kernel_initializer,
        )

    def call(self, responses: Tensor, inputs: Tensor) -> Tensor:
        rows, columns = (
            _centres(ops.shape(inputs)[1 + axis], *geometry, self.padding)
            for axis, geometry in enumerate(zip(self.kernel_size, self.strides, self.dilation_rate, strict=True))
        )
        centres = inputs[:, rows, columns, :]
        return ops.add(responses, pointwise(centres, ops.cast(self.kernel, inputs.dtype)))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "dilation_rate": self.dilation_rate,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
        }


def _centres(size: int | Tensor, taps: int, stride: int, dilation: int, padding: str) -> slice:
    """The slice of an axis that holds the pixels under the kernel's centre, the first of two where it is even."""
    before = (taps - 1) // 2 * dilation
    if padding == "valid":
        return slice(before, before - (taps - 1) * dilation or None, stride)
    if stride == 1:
        return slice(None)
    # "same" pads `taps - rest` pixels, the smaller half in front; a strided kernel is not dilated.
    rest = (size - 1) % stride + 1
    padded = max(taps - rest, 0) if isinstance(size, int) else ops.maximum(taps - rest, 0)
    return slice(before - padded // 2, None, stride)
