"""Mean intersection over union of semantic segmentation and human parts."""

import keras
from keras import ops

from rc_keras.losses.pixels import label_map
from rc_keras.metrics.histogram import histogram
from rc_keras.metrics.masked_metric import MaskedMetric
from rc_keras.metrics.running_sum import RunningSum


@keras.saving.register_keras_serializable(package="rc_keras")
class MeanIoU(MaskedMetric):
    """Intersection over union of each class over all images, averaged over the classes.

        IoU_c = TP_c / max(TP_c + FP_c + FN_c, 1e-8),    mIoU = 1/C Σ_c IoU_c

    As in the published protocol the mean runs over **all** classes, the background too: a class
    that is neither labelled nor predicted anywhere contributes 0. (`keras.metrics.MeanIoU` leaves
    such classes out.) When `ignore` is itself one of the classes (NYUD's 0, unlabelled), that
    class is no part of the mean; predicting it is still a miss of the true class. Labels outside
    0 … C − 1 count as ignored.

    Args:
        num_classes: C.
        ignore: Label of the pixels to leave out.
        name: Name of the metric.

    Call arguments:
        y_true: Class ids, `(B, H, W)` or `(B, H, W, 1)`.
        y_pred: Logits, `(B, H, W, C)`.
        sample_weight: See `MaskedMetric`.
    """

    def __init__(self, num_classes, ignore=255, name="mean_iou"):
        super().__init__(name=name)
        self.num_classes = num_classes
        self.ignore = ignore
        self.confusion = RunningSum(self, (num_classes, num_classes), "confusion")

    def update_pixels(self, y_true, y_pred, kept):
        labels = label_map(y_true, y_pred)
        predicted = ops.cast(ops.argmax(y_pred, axis=-1), "float32")
        valid = (labels != self.ignore) & (labels >= 0) & (labels < self.num_classes) & kept
        counts = histogram(labels * self.num_classes + predicted, valid, self.num_classes**2)
        self.confusion.add(ops.reshape(counts, (self.num_classes, self.num_classes)))

    def class_iou(self):
        """Intersection over union of each class, `(C,)`."""
        confusion = self.confusion.value()
        hits = ops.diagonal(confusion)
        union = ops.sum(confusion, axis=0) + ops.sum(confusion, axis=1) - hits
        return hits / ops.maximum(union, 1e-8)

    def result(self):
        classes = [c for c in range(self.num_classes) if c != self.ignore]
        return ops.mean(ops.take(self.class_iou(), classes, axis=0))

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes, "ignore": self.ignore}
