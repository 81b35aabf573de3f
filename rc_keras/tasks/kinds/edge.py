"""Edges: whether a pixel is on a boundary."""

from typing import TYPE_CHECKING

import keras

from rc_keras.losses import BalancedBinaryCrossentropy
from rc_keras.metrics import MaxF
from rc_keras.tasks.kinds.binary import Binary

if TYPE_CHECKING:
    from rc_keras.tasks.task import Task


class Edge(Binary):
    """Logits `(B, H, W, 1)`; labels are 0 and 1 `(B, H, W)`, lines of one pixel. Measured by the maximal F."""

    name = "edge"
    level = 0
    lines = True

    def make_loss(self, task: "Task") -> keras.losses.Loss:
        return BalancedBinaryCrossentropy(ignore=task.ignore)

    def make_metrics(self, task: "Task") -> list[keras.metrics.Metric]:
        return [MaxF(ignore=task.ignore)]
