"""Depth: how far a pixel is."""

from typing import TYPE_CHECKING

import keras
import numpy as np

from rc_keras.losses import DepthL1
from rc_keras.metrics import RMSE
from rc_keras.tasks.kinds.kind import Kind
from rc_keras.tasks.labels import list_values, wrong_labels

if TYPE_CHECKING:
    from rc_keras.tasks.task import Task


class Depth(Kind):
    """Metres `(B, H, W, 1)`; labels are metres `(B, H, W)`, 0 where there is none. Measured by the RMSE."""

    name = "depth"
    values, unit = "metres", "m"
    level = 2
    ignore = 0
    zero_is_unlabelled = True
    interpolation = "bilinear"
    scale_power = -1
    colour_scale = True
    integer_hint = " (were they millimetres?)"

    def make_loss(self, task: "Task") -> keras.losses.Loss:
        return DepthL1()

    def make_metrics(self, task: "Task") -> list[keras.metrics.Metric]:
        return [RMSE()]

    def check_values(self, task: "Task", labels: np.ndarray) -> None:
        if np.any(labels < 0):
            expected = "be metres above 0, or 0 where there is no label"
            raise wrong_labels(task, expected, list_values(labels[labels < 0]))

    def decode(self, values: np.ndarray, is_pixels: bool) -> np.ndarray:
        """A PNG of 16 bits is in millimetres."""
        if not is_pixels:
            return values
        if values.dtype != np.uint16:
            raise ValueError(
                "be a PNG of 16 bits in millimetres, or a floating-point `.npy` in metres. Received: 8 bits"
            )
        return values.astype(np.float32) / 1000
