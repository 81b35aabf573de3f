"""Counts of foreground pixels, image by image, at the thresholds of the published saliency protocol."""

from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.losses.pixels import binary_map
from rc_keras.metrics.histogram import histogram, thresholds_exceeded

# 0.20, 0.25, …, 0.90
FIRST, THRESHOLDS, STEPS = 4, 15, 20


def count_foreground(
    y_true: Tensor, y_pred: Tensor, ignore: int, kept: Tensor | bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """How many pixels are foreground in prediction and label.

    A predicted one has sigmoid(z) > τ; where z is NaN the prediction is wrong at every τ.

    Args:
        y_true: maps of 0, 1 and `ignore`, `(B, H, W)` or `(B, H, W, 1)`.
        y_pred: logits, `(B, H, W, 1)`.
        ignore: label of the pixels to leave out.
        kept: boolean map of the pixels to count, or True.

    Returns:
        Float32 tensors `hits` and `predicted`, `(B, thresholds)`, `positives`, `(B, 1)`, and
        `counted`, `(B, 1)`, which is 1 for images with a valid pixel and 0 for others.
    """
    positive, valid = binary_map(y_true, y_pred, ignore)
    passed = thresholds_exceeded(ops.squeeze(y_pred, axis=-1), positive, STEPS, FIRST, THRESHOLDS)
    batch = ops.shape(positive)[0]
    image = ops.reshape(ops.arange(batch, dtype="float32"), (-1, 1, 1))
    bins = (image * 2.0 + ops.cast(positive, "float32")) * (THRESHOLDS + 1) + passed
    counts = histogram(bins, valid & kept, batch * 2 * (THRESHOLDS + 1))
    counts = ops.cast(ops.reshape(counts, (-1, 2, THRESHOLDS + 1)), "float32")

    exceeding = ops.flip(ops.cumsum(ops.flip(counts, axis=2), axis=2), axis=2)[:, :, 1:]
    hits = exceeding[:, 1]
    positives = ops.sum(counts[:, 1], axis=1, keepdims=True)
    counted = ops.cast(ops.sum(counts, axis=(1, 2)) > 0.0, "float32")[:, None]
    return hits, exceeding[:, 0] + hits, positives, counted


def share_of(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole, and 0 where the whole is empty."""
    return part / ops.maximum(whole, 1.0)
