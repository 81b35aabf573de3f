"""Accuracy of classification."""

from typing import Any

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.losses.pixels import label_map
from rc_keras.metrics.masked_metric import MaskedMetric, undecided
from rc_keras.metrics.running_sum import RunningSum


@keras.saving.register_keras_serializable(package="rc_keras")
class MaskedAccuracy(MaskedMetric):
    """Share of the labelled examples whose largest logit is the labelled class.

    0 when there are none. A label outside 0 … C − 1 counts as ignored.

    Args:
        ignore: label of the examples to leave out.
        name: name of the metric.

    Call arguments:
        y_true: class ids, `(B,)` or `(B, 1)`.
        y_pred: logits, `(B, C)`.
        sample_weight: see `MaskedMetric`.
    """

    def __init__(self, ignore: int = -1, name: str = "accuracy") -> None:
        super().__init__(name=name)
        self.ignore = ignore
        self.correct = RunningSum(self, (), "correct")
        self.count = RunningSum(self, (), "count")

    def update_pixels(self, y_true: Tensor, y_pred: Tensor, kept: Tensor | bool) -> None:
        labels = label_map(y_true, y_pred)
        valid = (labels != self.ignore) & (labels >= 0) & (labels < y_pred.shape[-1]) & kept
        correct = (ops.cast(ops.argmax(y_pred, axis=-1), "float32") == labels) & ~undecided(y_pred)
        self.correct.add(ops.sum(ops.cast(correct & valid, "float32")))
        self.count.add(ops.sum(ops.cast(valid, "float32")))

    def result(self) -> Tensor:
        return self.correct.value() / ops.maximum(self.count.value(), 1.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ignore": self.ignore}
