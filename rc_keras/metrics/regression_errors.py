"""The errors of numbers that are reported."""

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.losses.pixels import number_map
from rc_keras.metrics.regression_rmse import RegressionRMSE
from rc_keras.metrics.running_sum import RunningSum


@keras.saving.register_keras_serializable(package="rc_keras")
class RegressionErrors(RegressionRMSE):
    """Errors over all channels of the pixels with a label t, prediction p, in the unit of the labels.

        root_mean_squared_error   sqrt(Σ (p − t)² / N)
        mean_absolute_error       Σ |p − t| / N

    Both are NaN when nothing is labelled.

    Args:
        ignore, name: see `RegressionRMSE`.

    Returns:
        `result()` is a dictionary with the keys above.
    """

    def __init__(self, ignore: int = -9999, name: str = "errors") -> None:
        super().__init__(ignore=ignore, name=name)
        self.absolute = RunningSum(self, (), "absolute")

    def update_pixels(self, y_true: Tensor, y_pred: Tensor, kept: Tensor | bool) -> None:
        super().update_pixels(y_true, y_pred, kept)
        labels, valid = number_map(y_true, y_pred, self.ignore)
        errors = ops.mean(ops.abs(y_pred - labels), axis=-1)
        self.absolute.add(ops.sum(ops.where(valid & kept, errors, 0.0)))

    def result(self) -> dict[str, Tensor]:
        return {
            "root_mean_squared_error": super().result(),
            "mean_absolute_error": self.absolute.value() / self.count.value(),
        }
