"""Root mean squared error of numbers."""

from typing import Any

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.losses.pixels import number_map
from rc_keras.metrics.masked_metric import MaskedMetric
from rc_keras.metrics.running_sum import RunningSum


@keras.saving.register_keras_serializable(package="rc_keras")
class RegressionRMSE(MaskedMetric):
    """sqrt(Σ (p − t)² / N) over all channels of all labelled pixels; `keras.metrics.RootMeanSquaredError` of these.

    NaN when nothing is labelled.

    Args:
        ignore: label, in all channels, of the pixels to leave out.
        name: name of the metric.

    Call arguments:
        y_true: numbers, of the prediction's shape; `(B, H, W)` too where that has one channel.
        y_pred: numbers, `(B, H, W, C)`.
        sample_weight: see `MaskedMetric`.
    """

    def __init__(self, ignore: int = -9999, name: str = "root_mean_squared_error") -> None:
        super().__init__(name=name)
        self.ignore = ignore
        self.squares = RunningSum(self, (), "squares")
        self.count = RunningSum(self, (), "count")

    def update_pixels(self, y_true: Tensor, y_pred: Tensor, kept: Tensor | bool) -> None:
        labels, valid = number_map(y_true, y_pred, self.ignore)
        valid = valid & kept
        squares = ops.mean(ops.square(y_pred - labels), axis=-1)
        self.squares.add(ops.sum(ops.where(valid, squares, 0.0)))
        self.count.add(ops.sum(ops.cast(valid, "float32")))

    def result(self) -> Tensor:
        return ops.sqrt(self.squares.value() / self.count.value())

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ignore": self.ignore}
