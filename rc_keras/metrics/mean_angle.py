"""Mean angular error of surface normals."""

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.losses.pixels import vector_map
from rc_keras.metrics.angles import angles_in_degrees
from rc_keras.metrics.masked_metric import MaskedMetric
from rc_keras.metrics.running_sum import RunningSum


@keras.saving.register_keras_serializable(package="rc_keras")
class MeanAngle(MaskedMetric):
    """Angle between predicted and labelled normals in degrees, mean over all pixels with a label.

    Both sides are normalized first; pixels with a zero label are left out. NaN when nothing is
    labelled.

    Args:
        name: name of the metric.

    Call arguments:
        y_true: unit vectors, or zero where there is no label, `(B, H, W, 3)`.
        y_pred: vectors of any positive length, `(B, H, W, 3)`.
        sample_weight: see `MaskedMetric`.
    """

    def __init__(self, name: str = "mean_angle") -> None:
        super().__init__(name=name)
        self.angle = RunningSum(self, (), "angle")
        self.count = RunningSum(self, (), "count")

    def update_pixels(self, y_true: Tensor, y_pred: Tensor, kept: Tensor | bool) -> None:
        labels = vector_map(y_true, y_pred)
        valid = ops.any(labels != 0.0, axis=-1) & kept
        self.angle.add(ops.sum(ops.where(valid, angles_in_degrees(y_pred, labels), 0.0)))
        self.count.add(ops.sum(ops.cast(valid, "float32")))

    def result(self) -> Tensor:
        return self.angle.value() / self.count.value()
