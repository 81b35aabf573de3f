"""Root mean squared error of depth."""

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.losses.pixels import label_map
from rc_keras.metrics.masked_metric import MaskedMetric
from rc_keras.metrics.running_sum import RunningSum


@keras.saving.register_keras_serializable(package="rc_keras")
class RMSE(MaskedMetric):
    """Root of the mean squared depth error in metres, pooled over all pixels with a label.

        RMSE = sqrt(Σ_{t≠0} (p − t)² / N_v)

    Pooled means one root over all images; RCM's own code takes a root per image and averages them
    (and counts unlabelled pixels), so the two are not comparable. NaN when nothing is labelled.

    Args:
        name: name of the metric.

    Call arguments:
        y_true: metres, or 0 where there is no label, `(B, H, W)` or `(B, H, W, 1)`.
        y_pred: metres, `(B, H, W, 1)`.
        sample_weight: see `MaskedMetric`.
    """

    def __init__(self, name: str = "rmse") -> None:
        super().__init__(name=name)
        self.squares = RunningSum(self, (), "squares")
        self.count = RunningSum(self, (), "count")

    def update_pixels(self, y_true: Tensor, y_pred: Tensor, kept: Tensor | bool) -> None:
        labels = label_map(y_true, y_pred)
        valid = (labels != 0.0) & kept
        squares = ops.square(ops.squeeze(y_pred, axis=-1) - labels)
        self.squares.add(ops.sum(ops.where(valid, squares, 0.0)))
        self.count.add(ops.sum(ops.cast(valid, "float32")))

    def result(self) -> Tensor:
        return ops.sqrt(self.squares.value() / self.count.value())
