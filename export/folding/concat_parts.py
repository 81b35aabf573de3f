"""The shared convolution of several maps as plain shared convolutions, which every file stores once."""

from collections.abc import Container, Iterable, MutableMapping, Sequence
from typing import Any

import keras
import numpy as np

from rc_keras.base.keras_types import Shape, Tensor
from rc_keras.export.folding.direct_conv2d import DirectConv2D
from rc_keras.layers import BankConcatConv2D, BankConv2D, ResizeTo
from rc_keras.layers.concat_convolution import stretched


def call_parts(
    layer: BankConcatConv2D,
    inputs: Sequence[keras.KerasTensor],
    bank: MutableMapping[str, DirectConv2D],
    weights: MutableMapping[str, list[Any]],
) -> keras.KerasTensor:
    """Computes a convolution of several maps in parts.

    Maps that are not computed small are resized, concatenated and convolved by a kernel of the layer's name. One that
    is, is multiplied by one 1x1 kernel for each row of its part of the kernel, `<name>_map<input>_row<row>`, before the
    products are resized and shifted; see `rc_keras.layers.ConcatConv2D`.

    Args:
        layer: the layer of the model.
        inputs: what it is called with.
        bank: `{name: DirectConv2D}`, the convolutions that folded branches share; those it lacks are added.
        weights: `{name: weights}` of layers, to which those of new ones are added.
    """
    small = layer.computed_small([tuple(x.shape) for x in inputs])
    kernels = _part_kernels(layer, small)
    for name, kernel in kernels.items():
        if name not in bank:
            rows, columns, _, filters = kernel.shape
            bank[name] = DirectConv2D(
                filters, (rows, columns), padding="same", use_bias=False, dtype="float32", name=name
            )
            weights[name] = [kernel]
    reference = inputs[layer.reference]
    maps = [
        x if x is reference else ResizeTo(name=f"{layer.name}_map{at}_resize")(x, reference)
        for at, x in enumerate(inputs)
        if at not in small
    ]
    x = keras.layers.Concatenate(name=f"{layer.name}_concatenate")(maps) if len(maps) > 1 else maps[0]
    parts = [bank[layer.name](x)]
    for at in small:
        products = [bank[name](inputs[at]) for name in kernels if name.startswith(f"{layer.name}_map{at}_")]
        if layer.kernel_size == (1, 1):
            pixel = tuple(inputs[at].shape[1:3]) == (1, 1)
            parts += products if pixel else [ResizeTo(name=f"{layer.name}_map{at}_resize")(products[0], reference)]
        else:
            stretch = Stretch(layer.kernel_size[1], name=f"{layer.name}_map{at}_stretch")
            parts.append(stretch([*products, reference]))
    return keras.layers.Add(name=f"{layer.name}_add")(parts) if small else parts[0]


def bank_kernels(convolutions: Iterable[BankConv2D], names: Container[str]) -> dict[str, np.ndarray]:
    """`{name: kernel}` of the convolutions of a folded bank, from those of the model.

    Args:
        convolutions: those of the model.
        names: of those in the folded bank.
    """
    found = {}
    for layer in convolutions:
        if isinstance(layer, BankConcatConv2D):
            small = [at for at in range(len(layer.channels)) if f"{layer.name}_map{at}_row0" in names]
            parts = _part_kernels(layer, small)
        else:
            parts = {layer.name: keras.ops.convert_to_numpy(layer.kernel)}
        found.update({name: kernel for name, kernel in parts.items() if name in names})
    return found


def _part_kernels(layer: BankConcatConv2D, small: Sequence[int]) -> dict[str, np.ndarray]:
    """The kernels of the parts, with the inputs of these indices computed small, row by row."""
    kernels = layer.split(keras.ops.convert_to_numpy(layer.kernel))
    plain = [kernel for at, kernel in enumerate(kernels) if at not in small]
    parts = {layer.name: np.concatenate(plain, axis=2)}
    for at in small:
        rows, columns, channels, filters = kernels[at].shape
        by_row = kernels[at].transpose(0, 2, 1, 3).reshape(rows, 1, 1, channels, columns * filters)
        parts |= {f"{layer.name}_map{at}_row{row}": by_row[row] for row in range(rows)}
    return parts


class Stretch(keras.layers.Layer):
    """Resizes and shifts the products of a small map with the rows of a kernel, see `stretched`."""

    def __init__(self, columns: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.columns = columns

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        *products, reference = inputs
        return stretched(products, products[0].shape[1:3], reference.shape[1:3], self.columns)

    def compute_output_shape(self, inputs_shape: Sequence[Shape]) -> Shape:
        *products, reference = inputs_shape
        return (*reference[:-1], products[0][-1] // self.columns)
