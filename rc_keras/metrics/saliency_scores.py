"""Intersection over union and F-measure of saliency."""

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.metrics.foreground import FIRST, STEPS, THRESHOLDS, share_of
from rc_keras.metrics.max_iou import MaxIoU
from rc_keras.metrics.running_sum import RunningSum


@keras.saving.register_keras_serializable(package="rc_keras")
class SaliencyScores(MaxIoU):
    """`max_iou` of `MaxIoU`, and the F-measure of precision and recall averaged over images.

        P(τ) = 1/N Σ_i TP_i / predicted_i      R(τ) = 1/N Σ_i TP_i / true_i
        max_f = max_τ 2 P R / (P + R),         τ = 0.20, 0.25, …, 0.90

    β² is 1, as in the published protocol, not the 0.3 that is usual elsewhere. A quotient over nothing is 0, so an
    image where neither label nor prediction has foreground counts 0 in both means, though 1 in that of IoU: the
    published code scores the two so.

    Args:
        ignore: label of the pixels to leave out.
        name: name of the metric.

    Call arguments:
        y_true, y_pred, sample_weight: see `MaxIoU`.

    Returns:
        `result()` has the keys `max_iou`, `max_iou_threshold`, `max_f` and `max_f_threshold`; a threshold is the lowest
        that reaches the score. All are 0 when there is no image.
    """

    def __init__(self, ignore: int = 255, name: str = "scores") -> None:
        super().__init__(ignore=ignore, name=name)
        self.precision = RunningSum(self, (THRESHOLDS,), "precision")
        self.recall = RunningSum(self, (THRESHOLDS,), "recall")

    def add_counts(self, hits: Tensor, predicted: Tensor, positives: Tensor, counted: Tensor) -> None:
        super().add_counts(hits, predicted, positives, counted)
        for total, whole in ((self.precision, predicted), (self.recall, positives)):
            total.add(ops.sum(share_of(hits, whole), axis=0))  # 0 of an image that is not counted

    def result(self) -> dict[str, Tensor]:
        images = ops.maximum(self.images.value(), 1.0)
        precision, recall = self.precision.value() / images, self.recall.value() / images
        f = 2.0 * precision * recall / ops.maximum(precision + recall, 1e-12)
        return {
            "max_iou": super().result(),
            "max_iou_threshold": self._threshold(self.iou.value()),
            "max_f": ops.max(f),
            "max_f_threshold": self._threshold(f),
        }

    def _threshold(self, scores: Tensor) -> Tensor:
        threshold = (ops.cast(ops.argmax(scores), "float32") + FIRST) / STEPS
        return ops.where(self.images.value() > 0.0, threshold, 0.0)
