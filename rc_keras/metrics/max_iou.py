"""Intersection over union of saliency."""

import keras
from keras import ops

from rc_keras.losses.pixels import label_map
from rc_keras.metrics.histogram import histogram, thresholds_exceeded
from rc_keras.metrics.masked_metric import MaskedMetric
from rc_keras.metrics.running_sum import RunningSum

THRESHOLDS = 15


@keras.saving.register_keras_serializable(package="rc_keras")
class MaxIoU(MaskedMetric):
    """Intersection over union of the foreground, mean over images, best over thresholds.

        IoU_i(τ) = TP / (TP + FP + FN) in image i, a pixel being foreground when sigmoid(z) > τ
        maxIoU   = max_τ 1/N Σ_i IoU_i(τ),    τ = 0.20, 0.25, …, 0.90

    The published saliency protocol. An image where neither label nor prediction has foreground
    scores 1; an image without any valid pixel is not counted. 0 when there is no image.

    Args:
        ignore: Label of the pixels to leave out.
        name: Name of the metric.

    Call arguments:
        y_true: Maps of 0, 1 and `ignore`, `(B, H, W)` or `(B, H, W, 1)`.
        y_pred: Logits, `(B, H, W, 1)`.
        sample_weight: See `MaskedMetric`.
    """

    def __init__(self, ignore=255, name="max_iou"):
        super().__init__(name=name)
        self.ignore = ignore
        self.iou = RunningSum(self, (THRESHOLDS,), "iou")
        self.images = RunningSum(self, (), "images")

    def update_pixels(self, y_true, y_pred, kept):
        labels = label_map(y_true, y_pred)
        valid = (labels != self.ignore) & (labels >= 0.0) & (labels <= 1.0) & kept
        probability = ops.sigmoid(ops.squeeze(y_pred, axis=-1))
        passed = thresholds_exceeded(probability, steps=20, first=4, count=THRESHOLDS)
        positive = ops.cast(labels >= 0.5, "float32")
        batch = ops.shape(labels)[0]
        image = ops.reshape(ops.arange(batch, dtype="float32"), (-1, 1, 1))
        bins = (image * 2.0 + positive) * (THRESHOLDS + 1) + passed
        counts = histogram(bins, valid, batch * 2 * (THRESHOLDS + 1))
        counts = ops.cast(ops.reshape(counts, (-1, 2, THRESHOLDS + 1)), "float32")

        predicted = ops.flip(ops.cumsum(ops.flip(counts, axis=2), axis=2), axis=2)[:, :, 1:]
        hits = predicted[:, 1]
        union = predicted[:, 0] + ops.sum(counts[:, 1], axis=1, keepdims=True)
        iou = ops.where(union == 0.0, 1.0, hits / ops.maximum(union, 1.0))
        counted = ops.cast(ops.sum(counts, axis=(1, 2)) > 0.0, "float32")
        self.iou.add(ops.sum(iou * counted[:, None], axis=0))
        self.images.add(ops.sum(counted))

    def result(self):
        return ops.max(self.iou.value() / ops.maximum(self.images.value(), 1.0))

    def get_config(self):
        return {**super().get_config(), "ignore": self.ignore}
