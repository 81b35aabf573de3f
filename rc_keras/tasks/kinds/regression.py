"""Regression: numbers of a pixel, whatever they are."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import keras
import numpy as np

from rc_keras.losses import MaskedHuber, MaskedMeanAbsoluteError, MaskedMeanSquaredError
from rc_keras.metrics import RegressionRMSE
from rc_keras.tasks.kinds.kind import Kind
from rc_keras.tasks.labels import find_labelled

if TYPE_CHECKING:
    from rc_keras.tasks.task import Task


class Regression(Kind):
    """Numbers `(B, H, W, channels)`, of any sign; labels are such numbers, -9999 in all channels where there is none.

    -9999 is what raster data commonly say for "no data". Measured by the root mean squared error.
    """

    name = "regression"
    values = "numbers"
    any_unit = True
    level = 2
    channels = None
    ignore = -9999
    interpolation = "bilinear"
    colour_scale = True

    def make_loss(self, task: "Task") -> keras.losses.Loss:
        return MaskedMeanAbsoluteError(ignore=task.ignore)

    def named_losses(self, task: "Task") -> Mapping[str, Callable[[], keras.losses.Loss]]:
        return {
            "mae": partial(MaskedMeanAbsoluteError, ignore=task.ignore),
            "mse": partial(MaskedMeanSquaredError, ignore=task.ignore),
            "huber": partial(MaskedHuber, ignore=task.ignore),
        }

    def make_metrics(self, task: "Task") -> list[keras.metrics.Metric]:
        return [RegressionRMSE(ignore=task.ignore)]

    def decode(self, values: np.ndarray, is_pixels: bool) -> np.ndarray:
        """Grey values, and whole numbers in an array, are numbers as they are."""
        return values.astype(np.float32) if values.dtype.kind in "ui" else values

    def picture_range(self, task: "Task", labels: np.ndarray) -> tuple[float, float]:
        """Least and greatest labelled number of the first channel, which is the one that is drawn."""
        first = labels[..., 0] if self.label_channels(task) > 1 else labels
        known = first[find_labelled(task, labels)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
        return low, (high if high > low else low + 1.0)
