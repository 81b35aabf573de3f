"""Saliency: whether a pixel belongs to what strikes the eye."""

from typing import TYPE_CHECKING

import keras

from rc_keras.losses import MaskedBinaryCrossentropy
from rc_keras.metrics import MaxIoU
from rc_keras.tasks.kinds.binary import Binary

if TYPE_CHECKING:
    from rc_keras.tasks.task import Task


class Saliency(Binary):
    """Logits `(B, H, W, 1)`; labels are 0 and 1 `(B, H, W)`. Measured by the maximal IoU."""

    name = "saliency"
    level = 3

    def make_loss(self, task: "Task") -> keras.losses.Loss:
        return MaskedBinaryCrossentropy(ignore=task.ignore)

    def make_metrics(self, task: "Task") -> list[keras.metrics.Metric]:
        return [MaxIoU(ignore=task.ignore)]
