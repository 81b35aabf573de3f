"""A convolution of maps of several sizes that are concatenated, computed where they are small."""

import functools
from collections.abc import Sequence

import numpy as np
from keras import ops

from rc_keras.base import convolution, resizing
from rc_keras.base.keras_types import Shape, Tensor


class ConcatConvolution:
    """What `ConcatConv2D` and its form in a bank compute, and how.

    Attributes:
        kernel_size: two odd integers.
        filters: channels of the output.
        reference: index of the input that gives the size of the output.
        channels: those of each input, known when the layer is built.
    """

    kernel_size: tuple[int, ...]
    filters: int
    reference: int
    channels: list[int]

    def convolve(self, inputs: Sequence[Tensor], kernel: Tensor, bias: Tensor | None = None) -> Tensor:
        """The convolution of maps by a kernel `(k_h, k_w, c, filters)`, with a bias `(filters,)` if there is one."""
        reference = inputs[self.reference]
        kernels = self.split(kernel)
        small = self.computed_small([tuple(x.shape) for x in inputs])
        plain = [at for at in range(len(inputs)) if at not in small]
        maps = [resized(inputs[at], reference) for at in plain]
        kernel = ops.concatenate([kernels[at] for at in plain], axis=2) if small else kernel
        outputs = convolution.conv2d(
            ops.concatenate(maps, axis=-1) if len(maps) > 1 else maps[0], kernel, padding="same"
        )
        products = [self._convolve_small(inputs[at], kernels[at], reference) for at in small]
        if bias is not None:  # to the smallest there is
            smallest = min([outputs, *products], key=_pixels)
            outputs, *products = (
                ops.add(y, ops.cast(bias, y.dtype)) if y is smallest else y for y in (outputs, *products)
            )
        for product in products:
            outputs = ops.add(outputs, product)
        return outputs

    def computed_small(self, inputs_shape: Sequence[Shape]) -> list[int]:
        """Indices of the inputs, of these shapes, that are convolved before they are resized."""
        size = tuple(inputs_shape[self.reference][1:3])
        shapes = enumerate(inputs_shape)
        return [at for at, shape in shapes if self.is_computed_small(tuple(shape[1:3]), size, shape[-1])]

    def is_computed_small(self, own: Sequence[int | None], size: Sequence[int | None], channels: int) -> bool:
        """Whether a map is convolved before it is resized: where that is exact, possible, and cheaper.

        Args:
            own: height and width of the map, `None` where not known.
            size: of the output.
            channels: of the map.
        """
        if tuple(own) == (1, 1) and self.kernel_size == (1, 1):
            return tuple(size) != (1, 1)
        (h, w), (height, width) = own, size
        if h is None or w is None or height is None or width is None or (h, w) == (height, width):
            return False
        if h > height or w > width:
            return False
        return self._small_macs((h, w), (height, width), channels) < self._plain_macs((height, width), channels)

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

    def split(self, kernel: Tensor) -> list[Tensor]:
        """The kernel of each input, `(k_h, k_w, c, filters)`."""
        ends = np.cumsum(self.channels)
        return [kernel[:, :, end - c : end] for end, c in zip(ends.tolist(), self.channels, strict=True)]

    def _convolve_small(self, x: Tensor, kernel: Tensor, reference: Tensor) -> Tensor:
        rows, columns, channels, filters = kernel.shape
        if (rows, columns) == (1, 1):
            product = ops.matmul(x, ops.reshape(kernel, (channels, filters)))
            return product if tuple(x.shape[1:3]) == (1, 1) else resized(product, reference)
        flat = ops.reshape(x, (-1, x.shape[1] * x.shape[2], channels))
        by_row = ops.reshape(ops.transpose(kernel, (0, 2, 1, 3)), (rows, channels, columns * filters))
        products = [ops.matmul(flat, by_row[i]) for i in range(rows)]
        return self.stretch(products, x.shape[1:3], reference.shape[1:3])

    def stretch(self, products: Sequence[Tensor], small: Sequence[int], size: Sequence[int]) -> Tensor:
        """The function `stretched`, to be overridden by another order of the same products."""
        return stretched(products, small, size, self.kernel_size[1])


def stretched(products: Sequence[Tensor], small: Sequence[int], size: Sequence[int], columns: int) -> Tensor:
    """Resizes the products of a small map with the taps of a kernel, shifts each as its tap lies, and adds them.

    Args:
        products: one for each row of the kernel, `small` pixels with `columns · filters` channels, in any shape.
        small: height and width of the small map.
        size: of the output.
        columns: width of the kernel.

    Returns:
        `(batch, *size, filters)`.
    """
    (h, w), (height, _) = small, size
    filters = products[0].shape[-1] // columns
    vertical, horizontal = (
        ops.convert_to_tensor(matrix, dtype=products[0].dtype)
        for matrix in stretch_matrices(small, size, len(products), columns)
    )
    products = [ops.reshape(product, (-1, h, w * columns * filters)) for product in products]
    rows_done = ops.matmul(vertical[None], ops.concatenate(products, axis=1))
    return ops.matmul(horizontal[None, None], ops.reshape(rows_done, (-1, height, w * columns, filters)))


def stretch_matrices(
    small: Sequence[int], size: Sequence[int], rows: int, columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """The matrices of `stretched`.

    Args:
        small, size: heights and widths of the small map and of the output.
        rows, columns: of the kernel.

    Returns:
        `(vertical, horizontal)`: `(height, rows · h)`, and `(width, w · columns)` the taps of a pixel side by side.
    """
    (h, w), (height, width) = small, size
    matrix = _stretch(w, width, columns).reshape(width, columns, w).swapaxes(1, 2).reshape(width, w * columns)
    return _stretch(h, height, rows), matrix


def _pixels(x: Tensor) -> float:
    """Pixels of a map, infinitely many where that is not known."""
    return float("inf") if None in x.shape[1:3] else x.shape[1] * x.shape[2]


def resized(x: Tensor, reference: Tensor) -> Tensor:
    """A map at the size of a reference, as `ResizeTo` has it."""
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
