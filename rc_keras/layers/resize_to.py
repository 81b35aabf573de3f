"""Bilinear resizing to the size of another map."""

import keras
from keras import ops

from rc_keras.base import resizing
from rc_keras.base.keras_types import Shape, Tensor


@keras.saving.register_keras_serializable(package="rc_keras")
class ResizeTo(keras.layers.Layer):
    """Resizes maps bilinearly, half-pixel centres, to the height and width of a reference.

    Static sizes stay static, so that an exported graph holds no shape arithmetic; unknown ones are read at run time.
    The resizing is torch's `interpolate(mode="bilinear", align_corners=False)`.

    Call arguments:
        inputs: `(batch, h, w, channels)`.
        reference: any tensor `(batch, height, width, …)`.

    Returns:
        `(batch, height, width, channels)`.
    """

    def call(self, inputs: Tensor, reference: Tensor) -> Tensor:
        size = tuple(reference.shape[1:3])
        if None not in size and tuple(inputs.shape[1:3]) == size:
            return inputs
        return resizing.resize_bilinear(inputs, ops.shape(reference)[1:3])

    def compute_output_shape(self, inputs_shape: Shape, reference_shape: Shape) -> Shape:
        return (inputs_shape[0], *reference_shape[1:3], inputs_shape[-1])
