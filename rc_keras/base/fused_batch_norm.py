"""Batch normalization in one kernel, on TensorFlow."""

import keras

from rc_keras.base.keras_types import Tensor

_ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
_FUSED_NORM_DTYPES = ("float32", "bfloat16", "float16")


def supports_fused_batch_norm(inputs: Tensor) -> bool:
    """Whether `fused_batch_norm` can take `inputs`, a 4D tensor with channels last."""
    return (
        _ON_TENSORFLOW
        and len(inputs.shape) == 4
        and keras.backend.standardize_dtype(inputs.dtype) in _FUSED_NORM_DTYPES
    )


def fused_batch_norm(
    inputs: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor, epsilon: float, training: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Batch normalization in one TensorFlow kernel, statistics in float32.

    Args:
        inputs: `(batch, height, width, channels)`.
        gamma, beta: scale and offset, float32, `(channels,)`.
        mean, variance: the statistics to normalize with; only read when `training` is false.
        epsilon: added to the variance.
        training: whether to normalize with the statistics of this batch.

    Returns:
        `(outputs, mean, variance)`: outputs in the dtype of `inputs`, and the statistics of the batch (or the given
        ones). The variance of a batch is the unbiased one, divided by n - 1 (by 1 where n is 1); the outputs are
        normalized with the biased one.
    """
    import tensorflow as tf

    if not training:
        outputs, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=gamma, offset=beta, mean=mean, variance=variance, epsilon=epsilon, is_training=False
        )
        return outputs, mean, variance
    empty = tf.zeros((0,), "float32")
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=gamma, offset=beta, mean=empty, variance=empty, epsilon=epsilon, is_training=True
    )
    return outputs, mean, variance
