"""Keras's batch normalization with the fused kernel."""

import keras
from keras import ops

from rc_keras import ops as rc_ops


@keras.saving.register_keras_serializable(package="rc_keras")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization`, same arguments and weights; one fused kernel on TensorFlow.

    Several replicas of `tf.distribute` are always synchronized, or each would keep its own moving statistics, of which
    those of the first are saved. The fused kernel cannot do that: there, and wherever else it does not apply (other
    backends, masks, renormalization, an axis that is not the last), Keras's own implementation runs.
    """

    def call(self, inputs, training=None, mask=None):
        training = bool(training) and self.trainable
        if not self._is_fused(inputs, mask, training):
            return super().call(inputs, training=training, mask=mask)
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

    def _moments(self, inputs, mask):
        if mask is None and rc_ops.in_replica():
            return ops.moments(inputs, axes=self._reduction_axes, synchronized=True)
        return super()._moments(inputs, mask)

    def _is_fused(self, inputs, mask, training):
        return (
            mask is None
            and not (training and rc_ops.in_replica())
            and self.scale
            and self.center
            and not self.synchronized
            and not self.renorm
            and self.axis in (-1, len(inputs.shape) - 1)
            and rc_ops.supports_fused_batch_norm(inputs)
        )
