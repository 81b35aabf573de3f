"""Intersection over union of saliency."""

from typing import Any

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.metrics.foreground import THRESHOLDS, count_foreground, share_of
from rc_keras.metrics.masked_metric import MaskedMetric
from rc_keras.metrics.running_sum import RunningSum


@keras.saving.register_keras_serializable(package="rc_keras")
class MaxIoU(MaskedMetric):
    """Intersection over union of the foreground, mean over images, best over thresholds.

        IoU_i(τ) = TP / (TP + FP + FN) in image i, a pixel being foreground when sigmoid(z) > τ
        maxIoU   = max_τ 1/N Σ_i IoU_i(τ),    τ = 0.20, 0.25, …, 0.90

    The published saliency protocol. An image where neither label nor prediction has foreground
    scores 1; an image without any valid pixel is not counted. 0 when there is no image.

    Args:
        ignore: label of the pixels to leave out.
        name: name of the metric.

    Call arguments:
        y_true: maps of 0, 1 and `ignore`, `(B, H, W)` or `(B, H, W, 1)`.
        y_pred: logits, `(B, H, W, 1)`.
        sample_weight: see `MaskedMetric`.
    """

    def __init__(self, ignore: int = 255, name: str = "max_iou") -> None:
        super().__init__(name=name)
        self.ignore = ignore
        self.iou = RunningSum(self, (THRESHOLDS,), "iou")
        self.images = RunningSum(self, (), "images")

    def update_pixels(self, y_true: Tensor, y_pred: Tensor, kept: Tensor | bool) -> None:
        self.add_counts(*count_foreground(y_true, y_pred, self.ignore, kept))

    def add_counts(self, hits: Tensor, predicted: Tensor, positives: Tensor, counted: Tensor) -> None:
        """Takes in what `count_foreground` answers."""
        union = predicted + positives - hits
        iou = ops.where(union == 0.0, 1.0, share_of(hits, union))
        self.iou.add(ops.sum(iou * counted, axis=0))
        self.images.add(ops.sum(counted))

    def result(self) -> Tensor:
        return ops.max(self.iou.value() / ops.maximum(self.images.value(), 1.0))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ignore": self.ignore}
