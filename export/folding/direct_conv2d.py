"""A convolution that is one operation in every exported graph."""

import keras

from rc_keras.base.keras_types import Tensor


@keras.saving.register_keras_serializable(package="rc_keras")
class DirectConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D`, channels last, as one TensorFlow operation with the whole kernel, dilated or not.

    While training, dilation has a path of its own (`rc_keras.base.convolution.conv2d`), which leaves out taps that only
    meet the padding of a small map. A file must hold the kernel as it stands in the bank.
    """

    def convolution_op(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        import tensorflow as tf

        return tf.nn.conv2d(inputs, kernel, self.strides, self.padding.upper(), dilations=self.dilation_rate)
