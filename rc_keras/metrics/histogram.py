"""Counting over bins and thresholds, in one pass whatever their number."""

from keras import ops

from rc_keras.base.keras_types import Tensor


def thresholds_exceeded(logits: Tensor, positive: Tensor, steps: int, first: int, count: int) -> Tensor:
    """How many of the thresholds (first + k) / steps, k = 0 … count - 1, are exceeded by sigmoid(z).

    Args:
        logits: Float32 tensor z; a NaN is wrong at every threshold: it exceeds none where positive, all elsewhere.
        positive: boolean tensor of the same shape, whether the label is 1.
        steps: thresholds per unit.
        first: numerator of the lowest threshold.
        count: number of thresholds.

    Returns:
        Float32 tensor of whole numbers in 0 … count, of the same shape.
    """
    exceeded = ops.clip(ops.ceil(ops.sigmoid(logits) * steps) - first, 0.0, float(count))
    wrong = ops.where(positive, 0.0, float(count))
    return ops.where(ops.isnan(logits), wrong, exceeded)


def histogram(bins: Tensor, valid: Tensor, size: int) -> Tensor:
    """Counts how often each bin occurs among the valid entries.

    Args:
        bins: Float32 tensor of whole numbers in 0 … size − 1. (Index arithmetic stays in floating
            point because TensorFlow computes int32 on the host when a GPU is there.)
        valid: boolean tensor of the same shape; the bin of an invalid entry may be anything.
        size: number of bins, at most 2²⁴.

    Returns:
        Int32 tensor of shape `(size,)`.
    """
    # Invalid entries go to one more bin, dropped at the end.
    bins = ops.reshape(ops.cast(ops.where(valid, bins, ops.cast(size, bins.dtype)), "int32"), (-1,))
    return ops.segment_sum(ops.ones_like(bins), bins, num_segments=size + 1)[:-1]


def bins_of(values: Tensor, width: float, size: int) -> Tensor:
    """The bin of each value; whatever is beyond the last one, NaN too, goes into that.

    Args:
        values: Float32 tensor of numbers that are at least 0.
        width: width of a bin.
        size: number of bins.

    Returns:
        Float32 tensor of whole numbers in 0 … size − 1, of the same shape.
    """
    bins = ops.floor(values / width)
    # A comparison, for neither `clip` nor `minimum` stops NaN, and cast to an integer it may become 0: the best score.
    return ops.where(bins < size, bins, size - 1.0)


def histogram_median(counts: Tensor, width: float) -> Tensor:
    """Median of values of which only a histogram is left.

    With n values, the mean of the values of rank ⌊(n − 1)/2⌋ and ⌊n/2⌋, each taken as if the
    values of a bin lay evenly in it. The distance to the exact median is below `width`.

    Args:
        counts: Float32 tensor `(bins,)`; bin k counts the values in [k · width, (k + 1) · width).
        width: width of a bin.

    Returns:
        Float32 scalar, NaN when nothing was counted.
    """
    ends = ops.cumsum(counts)
    total = ends[-1]

    def value_of_rank(rank: Tensor) -> Tensor:
        below = ops.sum(ops.cast(ends <= rank, "float32"))
        index = ops.cast(ops.minimum(below, counts.shape[0] - 1.0), "int32")
        inside = ops.take(counts, index)
        offset = rank - (ops.take(ends, index) - inside) + 0.5
        return (below + ops.clip(offset / ops.maximum(inside, 1.0), 0.0, 1.0)) * width

    ranks = ops.floor((total - 1.0) / 2.0), ops.floor(total / 2.0)
    return ops.where(total > 0.0, (value_of_rank(ranks[0]) + value_of_rank(ranks[1])) / 2.0, float("nan"))
