"""The published set of errors of surface normals."""

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.losses.pixels import vector_map
from rc_keras.metrics.angles import angles_in_degrees
from rc_keras.metrics.histogram import bins_of, histogram, histogram_median
from rc_keras.metrics.mean_angle import MeanAngle
from rc_keras.metrics.running_sum import RunningSum

DEGREES = (11.25, 22.5, 30.0)
BIN = 0.01  # degrees
_BINS = round(180 / BIN)


@keras.saving.register_keras_serializable(package="rc_keras")
class NormalsErrors(MeanAngle):
    """Angles between predicted and labelled normals in degrees, pooled over all pixels with a label.

    The median is read off a histogram with bins of 0.01 degrees, and is off by less than that. The shares of pixels
    below 11.25, 22.5 and 30 degrees are counted exactly. A NaN counts as 180 degrees in the median, and makes mean and
    RMSE NaN. All are NaN when nothing is labelled.

    Args:
        name: name of the metric.

    Call arguments:
        y_true, y_pred, sample_weight: see `MeanAngle`.

    Returns:
        `result()` has the keys `mean_angle`, `median_angle`, `rmse_angle` (degrees), `within_11_25`, `within_22_5` and
        `within_30` (shares in 0..1).
    """

    def __init__(self, name: str = "errors") -> None:
        super().__init__(name=name)
        self.squares = RunningSum(self, (), "squares")
        self.within = RunningSum(self, (len(DEGREES),), "within")
        self.angles = RunningSum(self, (_BINS,), "angles")

    def update_pixels(self, y_true: Tensor, y_pred: Tensor, kept: Tensor | bool) -> None:
        super().update_pixels(y_true, y_pred, kept)
        labels = vector_map(y_true, y_pred)
        valid = ops.any(labels != 0.0, axis=-1) & kept
        angle = angles_in_degrees(y_pred, labels)
        self.squares.add(ops.sum(ops.where(valid, ops.square(angle), 0.0)))
        self.within.add(ops.stack([ops.sum(ops.cast(valid & (angle < d), "float32")) for d in DEGREES]))
        self.angles.add(histogram(bins_of(angle, BIN, _BINS), valid, _BINS))

    def result(self) -> dict[str, Tensor]:
        count = self.count.value()
        within = self.within.value() / count
        return {
            "mean_angle": super().result(),
            "median_angle": histogram_median(self.angles.value(), BIN),
            "rmse_angle": ops.sqrt(self.squares.value() / count),
            "within_11_25": within[0],
            "within_22_5": within[1],
            "within_30": within[2],
        }
