"""A convolution of maps of several sizes that are concatenated, computed where they are small."""

import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from rc_keras.base import resizing
from rc_keras.base.keras_types import Shape, Tensor
from rc_keras.layers.conv2d import Conv2D


@keras.saving.register_keras_serializable(package="rc_keras")
class ConcatConv2D(Conv2D):
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
        size = tuple(inputs[self.reference].shape[1:3])
        kernels = self._kernels()
        small = [at for at, x in enumerate(inputs) if self.is_computed_small(tuple(x.shape[1:3]), size, x.shape[-1])]
        plain = [at for at in range(len(inputs)) if at not in small]
        maps = [_resized(inputs[at], inputs[self.reference]) for at in plain]
        kernel = ops.concatenate([kernels[at] for at in plain], axis=2) if small else self.kernel
        outputs = self.convolution_op(ops.concatenate(maps, axis=-1) if len(maps) > 1 else maps[0], kernel)
        products = [self._convolve_small(inputs[at], kernels[at], inputs[self.reference]) for at in small]
        if self.use_bias:  # to the smallest there is
            smallest = min([outputs, *products], key=_pixels)
            outputs, *products = (
                ops.add(y, ops.cast(self.bias, y.dtype)) if y is smallest else y for y in (outputs, *products)
            )
        for product in products:
            outputs = ops.add(outputs, product)
        return self.activation(outputs)

    def is_computed_small(self, own: Sequence[int | None], size: Sequence[int | None], channels: int) -> bool:
        """Whether a map is convolved before it is resized: where that is exact, possible, and cheaper.

        Args:
            own: height and width of the map, `None` where not known.
            size: of the output.
            channels: of the map.
        """
        if tuple(own) == (1, 1) and self.kernel_size == (1, 1):
            return tuple(size) != (1, 1)
        known_own = [n for n in own if n is not None]
        known_size = [n for n in size if n is not None]
        if len(known_own) + len(known_size) < 4 or known_own == known_size:
            return False
        if any(a > b for a, b in zip(known_own, known_size, strict=True)):
            return False
        return self._small_macs(known_own, known_size, channels) < self._plain_macs(known_size, channels)

    def macs(self, inputs_shape: Sequence[Shape]) -> int:
        """Multiply-accumulates for one image, of what is computed for inputs of these shapes."""
        size = tuple(inputs_shape[self.reference][1:3])
        total = 0
        for shape in inputs_shape:
            own, channels = tuple(shape[1:3]), shape[-1]
            small = self.is_computed_small(own, size, channels)
            total += self._small_macs(own, size, channels) if small else self._plain_macs(size, channels)
        return total

    def _plain_macs(self, size: Sequence[int], channels: int) -> int:
        return int(np.prod(self.kernel_size) * channels * self.filters * np.prod(size))

    def _small_macs(self, own: Sequence[int], size: Sequence[int], channels: int) -> int:
        (rows, columns), (h, w), (height, width) = self.kernel_size, own, size
        products = rows * columns * channels * self.filters * h * w
        if (rows, columns) == (1, 1):
            return products
        return products + self.filters * columns * w * (height * rows * h + height * width)

    def _kernels(self) -> list[Tensor]:
        """The kernel of each input, `(k_h, k_w, c, filters)`."""
        ends = np.cumsum(self.channels)
        return [self.kernel[:, :, end - c : end] for end, c in zip(ends.tolist(), self.channels, strict=True)]

    def _convolve_small(self, x: Tensor, kernel: Tensor, reference: Tensor) -> Tensor:
        rows, columns, channels, filters = kernel.shape
        if (rows, columns) == (1, 1):
            product = ops.matmul(x, ops.reshape(kernel, (channels, filters)))
            return product if tuple(x.shape[1:3]) == (1, 1) else _resized(product, reference)
        (h, w), (height, width) = x.shape[1:3], reference.shape[1:3]
        flat = ops.reshape(x, (-1, h * w, channels))
        by_row = ops.reshape(ops.transpose(kernel, (0, 2, 1, 3)), (rows, channels, columns * filters))
        products = [ops.reshape(ops.matmul(flat, by_row[i]), (-1, h, w * columns * filters)) for i in range(rows)]
        vertical = ops.convert_to_tensor(_stretch(h, height, rows), dtype=x.dtype)
        stretched = ops.matmul(vertical[None], ops.concatenate(products, axis=1))
        # A row of the small map holds the taps of a pixel side by side, so Q has them there too.
        horizontal = _stretch(w, width, columns).reshape(width, columns, w).swapaxes(1, 2).reshape(width, w * columns)
        horizontal = ops.convert_to_tensor(horizontal, dtype=x.dtype)
        return ops.matmul(horizontal[None, None], ops.reshape(stretched, (-1, height, w * columns, filters)))

    def compute_output_shape(self, inputs_shape: Any) -> Shape:
        one = not isinstance(inputs_shape[0], (tuple, list))  # as `Conv2D` asks while it is built
        return (*(inputs_shape if one else inputs_shape[self.reference])[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "reference": self.reference}


def _pixels(x: Tensor) -> float:
    """Pixels of a map, infinitely many where that is not known."""
    return float("inf") if None in x.shape[1:3] else x.shape[1] * x.shape[2]


def _resized(x: Tensor, reference: Tensor) -> Tensor:
    size = tuple(reference.shape[1:3])
    if None not in size and tuple(x.shape[1:3]) == size:
        return x
    return resizing.resize_bilinear(x, ops.shape(reference)[1:3])


@functools.cache
def _stretch(size: int, target: int, taps: int) -> np.ndarray:
    """`(target, taps · size)`: for each tap of a kernel axis, bilinear resizing and then the shift of the tap.

    With half-pixel centres pixel y of the target lies at (y + ½) size / target − ½. Tap i sees pixel y + i − taps // 2,
    and zero beyond the borders.
    """
    places = (np.arange(target) + 0.5) * size / target - 0.5
    low = np.floor(places)
    resizing_matrix = np.zeros((target, size))
    for neighbour, weight in ((low, low + 1.0 - places), (low + 1.0, places - low)):
        inside = np.clip(neighbour, 0, size - 1).astype(int)
        np.add.at(resizing_matrix, (np.arange(target), inside), weight)
    padded = np.pad(resizing_matrix, ((taps // 2, taps // 2), (0, 0)))
    return np.concatenate([padded[i : i + target] for i in range(taps)], axis=1)
