"""Unit vectors as one operator, which integers can compute."""

import keras

from rc_keras.base.keras_types import Tensor


def with_l2_normalization(folded: keras.Model) -> keras.Model:
    """A copy of a folded model, on the same layers, whose unit normalizations become LiteRT's `L2_NORMALIZATION`.

    Eight bits do not hold the squares that a normalization spelled out goes through.
    """

    def clone(layer: keras.Operation) -> keras.Operation:
        if isinstance(layer, keras.layers.UnitNormalization) and layer.axis == -1:
            return _L2Normalization(dtype="float32", name=layer.name)
        return layer

    return keras.models.clone_model(folded, input_tensors=folded.inputs[0], clone_function=clone)


class _L2Normalization(keras.layers.Layer):
    def call(self, x: Tensor) -> Tensor:
        import tensorflow as tf

        return tf.nn.l2_normalize(x, axis=-1)

    def compute_output_spec(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return keras.KerasTensor(x.shape, "float32")
