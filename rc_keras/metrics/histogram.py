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


def bins_of(values, width, size):
    """The bin of each value; whatever is beyond the last one, NaN too, goes into that.

    Args:
        values: Float32 tensor of numbers that are at least 0.
        width: Width of a bin.
        size: Number of bins.

    Returns:
        Float32 tensor of whole numbers in 0 … size − 1, of the same shape.
    """
    bins = ops.floor(values / width)
    # A comparison, for neither `clip` nor `minimum` stops NaN, and cast to an integer it may become 0: the best score.
    return ops.where(bins < size, bins, size - 1.0)


def histogram_median(counts, width):
    """Median of values of which only a histogram is left.

    With n values, the mean of the values of rank ⌊(n − 1)/2⌋ and ⌊n/2⌋, each taken as if the
    values of a bin lay evenly in it. The distance to the exact median is below `width`.

    Args:
        counts: Float32 tensor `(bins,)`; bin k counts the values in [k · width, (k + 1) · width).
        width: Width of a bin.

    Returns:
        Float32 scalar, 0 when nothing was counted.
    """
    ends = ops.cumsum(counts)
    total = ends[-1]

    def value_of_rank(rank):
        below = ops.sum(ops.cast(ends <= rank, "float32"))
        index = ops.cast(ops.minimum(below, counts.shape[0] - 1.0), "int32")
        inside = ops.take(counts, index)
        offset = rank - (ops.take(ends, index) - inside) + 0.5
        return (below + ops.clip(offset / ops.maximum(inside, 1.0), 0.0, 1.0)) * width

    ranks = ops.floor((total - 1.0) / 2.0), ops.floor(total / 2.0)
    return ops.where(total > 0.0, (value_of_rank(ranks[0]) + value_of_rank(ranks[1])) / 2.0, 0.0)
