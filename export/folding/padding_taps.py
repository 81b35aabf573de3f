"""Dilated convolutions without the products that only meet padding, tap by tap."""

import dataclasses
import math
from typing import Any, TypeAlias

import keras

from rc_keras.base.convolution import tap_positions
from rc_keras.base.keras_types import Tensor
from rc_keras.export.folding.direct_conv2d import DirectConv2D
from rc_keras.export.folding.folded_network import FoldedNetwork
from rc_keras.network.donor import PREFIX

Span: TypeAlias = tuple[int, int]  # what is cut off a map in front and behind


def without_padding_taps(network: FoldedNetwork) -> FoldedNetwork:
    """A folded network in which dilated convolutions are computed tap by tap, without what falls on padding.

    A tap of a dilated kernel multiplies the part of the map that it meets, moved by its distance from the centre:

        y = Σ_ij pad(W_ij crop(x))

    On the maps of a segmentation network most of ASPP's taps meet half of the map or less. Runtimes that convolve
    with padding as if it were pixels gain by this; the sum is the same but for its order. Convolutions whose maps have
    no fixed size, or that save less than a fifth, stay as they are. So do those of the encoder's bank, which save that
    much on tiny images alone: its kernels stand in a file as they are.

    Args:
        network: the `FoldedNetwork`. The kernel of each tap takes the place of the whole one, as `<name>_tap<i><j>`.
    """
    bank, kernels = dict(network.bank), dict(network.kernels)
    shared: dict[str, DirectConv2D] = {}  # taps of the bank's convolutions
    weights: list[tuple[DirectConv2D, list[Tensor]]] = []  # of the taps; those of several tasks may have one name

    def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        whole = layer.name in network.bank and not layer.name.startswith(PREFIX)
        taps = _taps(layer, args[0]) if isinstance(layer, DirectConv2D) and not whole else None
        if taps is None:
            return layer(*args, **kwargs)
        products = []
        for tap in taps:
            name = f"{layer.name}_tap{tap.row}{tap.column}"
            uses_bias = layer.use_bias and tap.is_centre
            convolution = shared.get(name) or DirectConv2D(
                layer.filters, 1, use_bias=uses_bias, dtype="float32", name=name
            )
            x = args[0] if tap.is_centre else keras.layers.Cropping2D(tap.reads, name=f"{name}_crop")(args[0])
            product = convolution(x)
            if not tap.is_centre:
                product = keras.layers.ZeroPadding2D(tap.writes, name=f"{name}_pad")(product)
            products.append(product)
            kernel = keras.ops.convert_to_numpy(layer.kernel)[tap.row, tap.column][None, None]
            weights.append((convolution, [kernel, layer.bias] if uses_bias else [kernel]))
            if layer.name in network.bank:
                shared[name] = convolution
                kernels[name] = network.kernels[layer.name][tap.row, tap.column][None, None]
        if layer.name in network.bank:
            bank.pop(layer.name, None)
            kernels.pop(layer.name, None)
        total = keras.layers.Add(name=f"{layer.name}_taps")(products) if len(products) > 1 else products[0]
        if layer.activation is keras.activations.linear:
            return total
        return keras.layers.Activation(layer.activation, dtype="float32", name=f"{layer.name}_activation")(total)

    models = {}
    for task, model in network.models.items():
        image = keras.Input(batch_shape=model.inputs[0].shape, dtype=model.inputs[0].dtype, name=model.inputs[0].name)
        copy = keras.models.clone_model(
            model, input_tensors=image, clone_function=lambda layer: layer, call_function=call
        )
        models[task] = keras.Model(image, copy.output, name=model.name)
    for convolution, values in weights:
        for variable, value in zip(convolution.weights, values, strict=True):
            variable.assign(keras.ops.convert_to_numpy(value))
    return dataclasses.replace(network, models=models, bank=bank | shared, kernels=kernels)


@dataclasses.dataclass(frozen=True)
class _Tap:
    """One position of a kernel, and what it reads of a map and writes of the answer; the rest is padding."""

    row: int
    column: int
    reads: tuple[Span, Span]
    writes: tuple[Span, Span]

    @property
    def is_centre(self) -> bool:
        return self.reads == self.writes


def _taps(layer: DirectConv2D, x: keras.KerasTensor) -> list[_Tap] | None:
    """The taps of a dilated convolution that meet the map; `None` where it is better computed as a whole."""
    sizes = x.shape[1:3]
    plain = max(layer.strides) == 1 and layer.padding == "same" and layer.groups == 1
    if not plain or max(layer.dilation_rate) == 1 or None in sizes or not all(k % 2 for k in layer.kernel_size):
        return None
    if tap_positions(layer.kernel_size, sizes, layer.dilation_rate) == math.prod((*layer.kernel_size, *sizes)):
        return None
    taps = []
    for row in range(layer.kernel_size[0]):
        for column in range(layer.kernel_size[1]):
            centre = (layer.kernel_size[0] // 2, layer.kernel_size[1] // 2)
            moves = [(at - c) * d for at, c, d in zip((row, column), centre, layer.dilation_rate, strict=True)]
            if all(abs(move) < size for move, size in zip(moves, sizes, strict=True)):
                reads, writes = zip(*(((max(m, 0), max(-m, 0)), (max(-m, 0), max(m, 0))) for m in moves), strict=True)
                taps.append(_Tap(row, column, reads, writes))
    return taps
