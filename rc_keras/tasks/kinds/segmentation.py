"""Segmentation: the class of every pixel."""

from typing import TYPE_CHECKING

import keras

from rc_keras.metrics import MeanIoU
from rc_keras.tasks.kinds.of_classes import OfClasses

if TYPE_CHECKING:
    from rc_keras.tasks.task import Task


class Segmentation(OfClasses):
    """Logits `(B, H, W, classes)`; labels are class ids `(B, H, W)`. Measured by mean IoU."""

    name = "segmentation"
    level = 4
    ignore = 255

    def make_metrics(self, task: "Task") -> list[keras.metrics.Metric]:
        skip = self.skips_unlabelled_images(task)
        return [MeanIoU(task.channels, ignore=task.ignore, skip_unlabelled_images=skip)]

    def skips_unlabelled_images(self, task: "Task") -> bool:
        """As is published of PASCAL-Context's human parts."""
        return task.name == "human_parts"
