"""Mean intersection over union of semantic segmentation and human parts."""

from typing import Any

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.losses.pixels import label_map
from rc_keras.metrics.histogram import histogram
from rc_keras.metrics.masked_metric import MaskedMetric, undecided
from rc_keras.metrics.running_sum import RunningSum


@keras.saving.register_keras_serializable(package="rc_keras")
class MeanIoU(MaskedMetric):
    """Intersection over union of each class over all images, averaged over the classes.

        IoU_c = TP_c / max(TP_c + FP_c + FN_c, 1e-8),    mIoU = 1/C Σ_c IoU_c

    As in the published protocol the mean runs over **all** classes, the background too: a class
    that is neither labelled nor predicted anywhere contributes 0. (`keras.metrics.MeanIoU` leaves
    such classes out.) When `ignore` is itself one of the classes (NYUD's 0, unlabelled), that
    class is no part of the mean; predicting it is still a miss of the true class. Labels outside
    0 … C − 1 count as ignored. A pixel with a NaN among its logits is a miss of its class.

    Args:
        num_classes: C.
        ignore: label of the pixels to leave out.
        name: name of the metric.
        skip_unlabelled_images: leave out images whose labels are all 0 or ignored, as the published protocol does
            for human parts: it skips a label of only 0 or only 255. Padding, being ignored, does not matter here.

    Call arguments:
        y_true: class ids, `(B, H, W)` or `(B, H, W, 1)`.
        y_pred: logits, `(B, H, W, C)`.
        sample_weight: see `MaskedMetric`.
    """

    def __init__(
        self, num_classes: int, ignore: int = 255, name: str = "mean_iou", skip_unlabelled_images: bool = False
    ) -> None:
        super().__init__(name=name)
        self.num_classes = num_classes
        self.ignore = ignore
        self.skip_unlabelled_images = skip_unlabelled_images
        self.confusion = RunningSum(self, (num_classes, num_classes), "confusion")
        self.undecided = RunningSum(self, (num_classes,), "undecided")

    def update_pixels(self, y_true: Tensor, y_pred: Tensor, kept: Tensor | bool) -> None:
        classes, labels = self.num_classes, label_map(y_true, y_pred)
        valid = (labels != self.ignore) & (labels >= 0) & (labels < classes) & kept
        if self.skip_unlabelled_images:
            valid = valid & ops.any(valid & (labels > 0), axis=(1, 2), keepdims=True)
        nan = undecided(y_pred)
        predicted = ops.cast(ops.argmax(y_pred, axis=-1), "float32")
        counts = histogram(labels * classes + predicted, valid & ~nan, classes**2)
        self.confusion.add(ops.reshape(counts, (classes, classes)))
        self.undecided.add(histogram(labels, valid & nan, classes))

    def class_iou(self) -> Tensor:
        """Intersection over union of each class, `(C,)`."""
        confusion = self.confusion.value()
        hits = ops.diagonal(confusion)
        union = ops.sum(confusion, axis=0) + ops.sum(confusion, axis=1) + self.undecided.value() - hits
        return hits / ops.maximum(union, 1e-8)

    def result(self) -> Tensor:
        classes = [c for c in range(self.num_classes) if c != self.ignore]
        return ops.mean(ops.take(self.class_iou(), classes, axis=0))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "ignore": self.ignore,
            "skip_unlabelled_images": self.skip_unlabelled_images,
        }
