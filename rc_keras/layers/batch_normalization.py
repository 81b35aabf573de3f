"""Keras's batch normalization with the fused kernel."""

import keras
from keras import ops

from rc_keras import ops as rc_ops


@keras.saving.register_keras_serializable(package="rc_keras")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization`, same arguments and weights; one fused kernel on TensorFlow.

    The fused kernel cannot synchronize replicas: with `synchronized=True`, and wherever else it does not apply (other
    backends, masks, renormalization, an axis that is not the last), Keras's own implementation runs.
    """

    def call(self, inputs, training=None, mask=None):
        if not self._is_fused(inputs, mask):
            return super().call(inputs, training=training, mask=mask)
        training = bool(training) and self.trainable
        outputs, mean, variance = rc_ops.fused_batch_norm(
            inputs,
            ops.cast(self.gamma, "float32"),
            ops.cast(self.beta, "float32"),
            ops.cast(self.moving_mean, "float32"),
            ops.cast(self.moving_variance, "float32"),
            self.epsilon,
            training,
        )
        if training:
            for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
                step = (ops.cast(batch, moving.dtype) - moving) * (1.0 - self.momentum)
                moving.assign_add(step)
        return ops.cast(outputs, self.compute_dtype)

    def _is_fused(self, inputs, mask):
        return (
            mask is None
            and self.scale
            and self.center
            and not self.synchronized
            and not self.renorm
            and self.axis in (-1, len(inputs.shape) - 1)
            and rc_ops.supports_fused_batch_norm(inputs)
        )
