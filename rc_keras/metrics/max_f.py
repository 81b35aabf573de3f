"""Pixelwise F-measure of edge detection."""

from typing import Any

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.losses.pixels import binary_map
from rc_keras.metrics.histogram import histogram, thresholds_exceeded
from rc_keras.metrics.masked_metric import MaskedMetric
from rc_keras.metrics.running_sum import RunningSum

THRESHOLDS = 99


@keras.saving.register_keras_serializable(package="rc_keras")
class MaxF(MaskedMetric):
    """Pixelwise F-measure pooled over all images, best over the thresholds 0.01, 0.02, …, 0.99.

        F(τ) = 2 TP / (2 TP + FP + FN),    a pixel being predicted an edge when sigmoid(z) > τ

    This is **not** the published odsF, which thins the prediction and matches boundaries within a
    tolerance: an edge that is one pixel off counts here as a false alarm and a miss. It is cheap
    and rises with odsF, so it serves to watch training. 0 when there is no edge pixel.

    Args:
        ignore: label of the pixels to leave out.
        name: name of the metric.

    Call arguments:
        y_true: maps of 0, 1 and `ignore`, `(B, H, W)` or `(B, H, W, 1)`.
        y_pred: logits, `(B, H, W, 1)`.
        sample_weight: see `MaskedMetric`.
    """

    def __init__(self, ignore: int = 255, name: str = "max_f") -> None:
        super().__init__(name=name)
        self.ignore = ignore
        self.counts = RunningSum(self, (2, THRESHOLDS + 1), "counts")

    def update_pixels(self, y_true: Tensor, y_pred: Tensor, kept: Tensor | bool) -> None:
        positive, valid = binary_map(y_true, y_pred, self.ignore)
        passed = thresholds_exceeded(ops.squeeze(y_pred, axis=-1), positive, steps=100, first=1, count=THRESHOLDS)
        bins = ops.cast(positive, "float32") * (THRESHOLDS + 1) + ops.cast(passed, "float32")
        counts = histogram(bins, valid & kept, 2 * (THRESHOLDS + 1))
        self.counts.add(ops.reshape(counts, (2, THRESHOLDS + 1)))

    def result(self) -> Tensor:
        counts = self.counts.value()
        predicted = ops.flip(ops.cumsum(ops.flip(counts, axis=1), axis=1), axis=1)[:, 1:]
        hits = predicted[1]
        total = predicted[0] + hits + ops.sum(counts[1])
        return ops.max(2.0 * hits / ops.maximum(total, 1.0))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ignore": self.ignore}
