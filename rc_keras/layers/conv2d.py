"""Keras's convolution with the fast path for dilation."""

import keras

from rc_keras.base import convolution
from rc_keras.base.keras_types import Tensor


@keras.saving.register_keras_serializable(package="rc_keras")
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D`, same arguments and weights; dilated kernels run in one operation on TensorFlow."""

    def convolution_op(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        if self.data_format != "channels_last":
            return super().convolution_op(inputs, kernel)
        return convolution.conv2d(inputs, kernel, self.strides, self.padding, self.dilation_rate)
