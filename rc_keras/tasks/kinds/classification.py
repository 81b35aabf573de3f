"""Classification: the class of an image."""

from typing import TYPE_CHECKING

import keras

from rc_keras.metrics import MaskedAccuracy
from rc_keras.tasks.kinds.of_classes import OfClasses

if TYPE_CHECKING:
    from rc_keras.tasks.task import Task


class Classification(OfClasses):
    """Logits `(B, classes)` from a pooled head; labels are class ids `(B,)`. Measured by accuracy."""

    name = "classification"
    level = 5
    ignore = -1  # 255 is a class of ImageNet
    dense = False

    def make_metrics(self, task: "Task") -> list[keras.metrics.Metric]:
        return [MaskedAccuracy(ignore=task.ignore)]
