"""Keras's batch normalization with the fused kernel and the moving variance of the published networks."""

import math

import keras
import numpy as np
from keras import ops

from rc_keras.base import fused_batch_norm, replicas
from rc_keras.base.float64 import as_float64
from rc_keras.base.keras_types import Tensor


@keras.saving.register_keras_serializable(package="rc_keras")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization`, same arguments and weights; one fused kernel on TensorFlow.

    The moving variance follows the unbiased variance of each batch, sum (x - mean)² / (n - 1) over its n = batch x
    height x width values a channel, as `torch.nn.BatchNorm2d` and TensorFlow's fused kernel keep it, on every backend.
    Keras's own layer divides by n. The two differ by n / (n - 1), which is seen where n is small: behind a global
    pooling n is the batch size. Outputs in training are the same, for they are normalized with the biased variance
    everywhere. Where n is 1 the variance is 0, as in TensorFlow's kernel (PyTorch refuses to train so). A batch that is
    known to be empty moves nothing.

    Several replicas of `tf.distribute` are always synchronized, or each would keep its own moving statistics, of which
    those of the first are saved; n is then the sum over the replicas. Only renormalization (`renorm=True`), which
    follows deviations instead of variances, is left to Keras as it is.
    """

    def call(self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None) -> Tensor:
        training = bool(training) and self.trainable
        if 0 in inputs.shape and not replicas.in_replica():  # in one, others may wait for its sums
            training = False
        if self._is_fused(inputs, mask, training):
            return self._fused_call(inputs, training)
        if not training or self.renorm:
            return super().call(inputs, training=training, mask=mask)
        if mask is not None and len(mask.shape) != len(inputs.shape) - 1:
            raise ValueError(
                "`mask` must have one axis less than the inputs. "
                f"Received: mask.shape={tuple(mask.shape)}, inputs.shape={tuple(inputs.shape)}"
            )
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        mean, variance, n = self._batch_statistics(x, mask)
        self._move(mean, variance * (n / ops.maximum(n - 1.0, 1.0)))
        outputs = ops.batch_normalization(
            x,
            mean,
            variance,
            axis=self.axis,
            offset=ops.cast(self.beta, x.dtype) if self.center else None,
            scale=ops.cast(self.gamma, x.dtype) if self.scale else None,
            epsilon=self.epsilon,
        )
        return ops.cast(outputs, self.compute_dtype)

    def _fused_call(self, inputs: Tensor, training: bool) -> Tensor:
        outputs, mean, variance = fused_batch_norm.fused_batch_norm(
            inputs,
            ops.cast(self.gamma, "float32"),
            ops.cast(self.beta, "float32"),
            ops.cast(self.moving_mean, "float32"),
            ops.cast(self.moving_variance, "float32"),
            self.epsilon,
            training,
        )
        if training:
            self._move(mean, variance)
        return ops.cast(outputs, self.compute_dtype)

    def _move(self, mean: Tensor, variance: Tensor) -> None:
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign_add((ops.cast(batch, moving.dtype) - moving) * (1.0 - self.momentum))

    def _batch_statistics(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and biased variance of each channel over the batch of all replicas, and the number of values."""
        axes = [axis for axis in range(len(x.shape)) if axis != self.axis % len(x.shape)]
        if mask is None:
            n = ops.cast(math.prod(ops.shape(x)[axis] for axis in axes), x.dtype)
            mean, variance = ops.moments(x, axes=axes, synchronized=self.synchronized or replicas.in_replica())
            return mean, variance, replicas.sum_over_replicas(n)
        present = ops.broadcast_to(ops.cast(ops.expand_dims(mask, -1), "bool"), ops.shape(x))
        sums = [ops.sum(ops.where(present, values, 0.0), axes, keepdims=True) for values in (ops.ones_like(x), x)]
        n, total = replicas.sum_over_replicas(sums)
        mean = total / ops.maximum(n, 1.0)
        squares = ops.sum(ops.square(ops.where(present, x - mean, 0.0)), axes, keepdims=True)
        variance = replicas.sum_over_replicas(squares) / ops.maximum(n, 1.0)
        return ops.squeeze(mean, axes), ops.squeeze(variance, axes), ops.squeeze(n, axes)

    def _is_fused(self, inputs: Tensor, mask: Tensor | None, training: bool) -> bool:
        return (
            mask is None
            and not (training and replicas.in_replica())
            and self.scale
            and self.center
            and not self.synchronized
            and not self.renorm
            and self.axis in (-1, len(inputs.shape) - 1)
            and fused_batch_norm.supports_fused_batch_norm(inputs)
        )


def scale_and_offset(norm: keras.layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    """Scale and offset of a batch norm in float64, by its moving statistics: `y = scale x + offset`."""
    scale = 1.0 / np.sqrt(as_float64(norm.moving_variance) + norm.epsilon)
    if norm.scale:
        scale = scale * as_float64(norm.gamma)
    offset = -scale * as_float64(norm.moving_mean)
    return scale, offset + as_float64(norm.beta) if norm.center else offset
