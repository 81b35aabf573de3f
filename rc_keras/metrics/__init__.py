"""Training metrics of dense tasks, computed inside the train step from raw predictions."""

from rc_keras.metrics.masked_accuracy import MaskedAccuracy
from rc_keras.metrics.masked_metric import MaskedMetric
from rc_keras.metrics.max_f import MaxF
from rc_keras.metrics.max_iou import MaxIoU
from rc_keras.metrics.mean_angle import MeanAngle
from rc_keras.metrics.mean_iou import MeanIoU
from rc_keras.metrics.rmse import RMSE

__all__ = [
    "MaskedAccuracy",
    "MaskedMetric",
    "MaxF",
    "MaxIoU",
    "MeanAngle",
    "MeanIoU",
    "RMSE",
]
