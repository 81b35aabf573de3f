"""Layers in other forms, for which LiteRT has integer operators that its delegate XNNPACK knows."""

from collections.abc import Sequence

import keras
import numpy as np

from rc_keras.base.keras_types import Shape, Tensor
from rc_keras.export.folding.concat_parts import Stretch
from rc_keras.layers import BankConcatConv2D, ConcatConv2D
from rc_keras.layers.concat_convolution import ConcatConvolution, stretch_matrices


def with_integer_forms(folded: keras.Model) -> keras.Model:
    """A copy of a folded model, on the same layers but for these.

    Unit normalizations become LiteRT's `L2_NORMALIZATION`: eight bits do not hold the squares that one spelled out goes
    through. The matrices that resize and shift small maps stand on the right side of products, `FULLY_CONNECTED`: on
    the left side they are `BATCH_MATMUL`, which XNNPACK leaves to LiteRT in integers. Hard SiLU is
    spelled out: XNNPACK leaves `HARD_SWISH` to it as well.
    """

    def clone(layer: keras.Operation) -> keras.Operation:
        if isinstance(layer, keras.layers.UnitNormalization) and layer.axis == -1:
            return _L2Normalization(dtype="float32", name=layer.name)
        if isinstance(layer, Stretch):
            return _StretchFromTheRight(layer.columns, name=layer.name)
        if isinstance(layer, ConcatConv2D) and not isinstance(layer, BankConcatConv2D):
            return _ConcatConv2D(layer)
        if type(layer) is keras.layers.Activation and layer.activation is keras.activations.hard_silu:
            return _HardSiLU(dtype="float32", name=layer.name)
        return layer

    return keras.models.clone_model(folded, input_tensors=folded.inputs[0], clone_function=clone)


class _L2Normalization(keras.layers.Layer):
    def call(self, x: Tensor) -> Tensor:
        import tensorflow as tf

        return tf.nn.l2_normalize(x, axis=-1)

    def compute_output_spec(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return keras.KerasTensor(x.shape, "float32")


class _HardSiLU(keras.layers.Layer):
    """x relu6(x + 3) / 6, factored so that the converter does not make `HARD_SWISH` of it."""

    def call(self, x: Tensor) -> Tensor:
        return (x * 0.5) * (keras.ops.relu6(x + 3.0) * (1 / 3))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


class _StretchFromTheRight(Stretch):
    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        *products, reference = inputs
        return _stretched_from_the_right(products, products[0].shape[1:3], reference.shape[1:3], self.columns)


class _ConcatConv2D(ConcatConvolution, keras.layers.Layer):
    """A `ConcatConv2D` on the weights of another one, which stretches from the right."""

    def __init__(self, layer: ConcatConv2D) -> None:
        super().__init__(name=layer.name)
        self.layer = layer
        self.kernel_size, self.filters = layer.kernel_size, layer.filters
        self.reference, self.channels = layer.reference, layer.channels

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        return self.layer.activation(self.convolve(inputs, self.layer.kernel, self.layer.bias))

    def stretch(self, products: Sequence[Tensor], small: Sequence[int], size: Sequence[int]) -> Tensor:
        return _stretched_from_the_right(products, small, size, self.kernel_size[1])

    def compute_output_shape(self, inputs_shape: Sequence[Shape]) -> Shape:
        return self.layer.compute_output_shape(inputs_shape)


def _stretched_from_the_right(
    products: Sequence[Tensor], small: Sequence[int], size: Sequence[int], columns: int
) -> Tensor:
    """`stretched`, with the axis that a matrix is to be multiplied with last."""
    (h, w), (height, _) = small, size
    filters = products[0].shape[-1] // columns
    vertical, horizontal = stretch_matrices(small, size, len(products), columns)
    flat = [keras.ops.reshape(product, (-1, h, w * columns * filters)) for product in products]
    x = _times(keras.ops.transpose(keras.ops.concatenate(flat, axis=1), (0, 2, 1)), vertical)
    x = keras.ops.transpose(keras.ops.reshape(x, (-1, w * columns, filters, height)), (0, 3, 2, 1))
    return keras.ops.transpose(_times(x, horizontal), (0, 1, 3, 2))


def _times(x: Tensor, matrix: np.ndarray) -> Tensor:
    return keras.ops.matmul(x, keras.ops.convert_to_tensor(matrix.T, dtype=x.dtype))
