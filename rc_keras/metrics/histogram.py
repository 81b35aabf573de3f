"""Counting over bins and thresholds, in one pass whatever their number."""

from keras import ops


def thresholds_exceeded(probability, steps, first, count):
    """How many of the thresholds (first + k) / steps, k = 0 … count - 1, are exceeded.

    Args:
        probability: Float32 tensor in 0 … 1; NaN exceeds nothing.
        steps: Thresholds per unit.
        first: Numerator of the lowest threshold.
        count: Number of thresholds.

    Returns:
        Float32 tensor of whole numbers in 0 … count, of the same shape.
    """
    exceeded = ops.ceil(probability * steps) - first
    return ops.where(exceeded > 0.0, ops.minimum(exceeded, float(count)), 0.0)


def histogram(bins, valid, size):
    """Counts how often each bin occurs among the valid entries.

    Args:
        bins: Float32 tensor of whole numbers in 0 … size − 1. (Index arithmetic stays in floating
            point because TensorFlow computes int32 on the host when a GPU is there.)
        valid: Boolean tensor of the same shape; the bin of an invalid entry may be anything.
        size: Number of bins, at most 2²⁴.

    Returns:
        Int32 tensor of shape `(size,)`.
    """
    # Invalid entries go to one more bin, dropped at the end.
    bins = ops.reshape(ops.cast(ops.where(valid, bins, ops.cast(size, bins.dtype)), "int32"), (-1,))
    return ops.segment_sum(ops.ones_like(bins), bins, num_segments=size + 1)[:-1]
