"""Metrics of dense tasks, computed inside compiled steps from raw predictions.

One number each to watch training: `MeanIoU`, `MaxF`, `MaxIoU`, `MeanAngle`, `RMSE`, `MaskedAccuracy`. All the numbers
that are published of a task, as a dict: `SegmentationScores`, `SaliencyScores`, `NormalsErrors`, `DepthErrors`.
"""

from rc_keras.metrics.depth_errors import DepthErrors
from rc_keras.metrics.masked_accuracy import MaskedAccuracy
from rc_keras.metrics.masked_metric import MaskedMetric
from rc_keras.metrics.max_f import MaxF
from rc_keras.metrics.max_iou import MaxIoU
from rc_keras.metrics.mean_angle import MeanAngle
from rc_keras.metrics.mean_iou import MeanIoU
from rc_keras.metrics.normals_errors import NormalsErrors
from rc_keras.metrics.regression_errors import RegressionErrors
from rc_keras.metrics.regression_rmse import RegressionRMSE
from rc_keras.metrics.rmse import RMSE
from rc_keras.metrics.saliency_scores import SaliencyScores
from rc_keras.metrics.segmentation_scores import SegmentationScores

__all__ = [
    "DepthErrors",
    "MaskedAccuracy",
    "MaskedMetric",
    "MaxF",
    "MaxIoU",
    "MeanAngle",
    "MeanIoU",
    "NormalsErrors",
    "RMSE",
    "RegressionErrors",
    "RegressionRMSE",
    "SaliencyScores",
    "SegmentationScores",
]
