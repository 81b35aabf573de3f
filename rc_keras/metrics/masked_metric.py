"""What all training metrics of this package share."""

from typing import Any

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.losses.pixels import weight_map


class MaskedMetric(keras.metrics.Metric):
    """A metric over the pixels that carry a label, fed with a branch's raw predictions.

    Its state is a few float32 sums of fixed shape, so it runs inside compiled train steps on every
    backend, and states of several replicas are merged by adding them.

    Without any pixel that counts, a score is 0, the worst, and an error (`RMSE`, `MeanAngle`, `NormalsErrors`,
    `DepthErrors`, `RegressionRMSE`, `RegressionErrors`) is NaN, which Keras's callbacks do not take for an improvement,
    unless it comes first: then `ModelCheckpoint` needs `initial_value_threshold=float("inf")`. A prediction that is NaN
    is never a class and never right: in scores its pixel counts as wrong, and it makes a mean error NaN.

    A subclass implements `update_pixels(y_true, y_pred, kept)`, with float32 tensors and a boolean
    map of the pixels the caller wants counted (or True for all).

    Args:
        name: name of the metric.

    Call arguments:
        y_true: labels, with or without a channel axis of 1.
        y_pred: raw predictions.
        sample_weight: optional, of shape `(B,)` or broadcastable to the pixels. The published
            metrics are unweighted, so a weight only says whether a pixel counts: 0 leaves it out.
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__(dtype="float32", name=name)

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        y_true = ops.convert_to_tensor(y_true, dtype="float32")
        y_pred = ops.stop_gradient(ops.convert_to_tensor(y_pred, dtype="float32"))
        kept = True
        if sample_weight is not None:
            kept = weight_map(sample_weight, rank=len(y_pred.shape) - 1) != 0.0
        self.update_pixels(y_true, y_pred, kept)

    def update_pixels(self, y_true: Tensor, y_pred: Tensor, kept: Tensor | bool) -> None:
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}


def undecided(logits: Tensor) -> Tensor:
    """Whether a pixel has a NaN among its logits `(…, C)`: a boolean map `(…)`."""
    return ops.any(ops.isnan(logits), axis=-1)
