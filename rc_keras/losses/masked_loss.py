"""The reduction that all losses of this package share."""

from typing import Any

import keras
from keras import ops

from rc_keras.base import replicas
from rc_keras.base.keras_types import Tensor
from rc_keras.losses.pixels import weight_map


class MaskedLoss(keras.losses.Loss):
    """A loss averaged over the pixels that carry a label.

    With the loss l_i of pixel i, its weight w_i (1 by default) and the set V of valid pixels of
    the batch,

        L = 1 / |V| · Σ_{i ∈ V} w_i l_i,    and L = 0 with zero gradient when V is empty.

    Sums run in float32 whatever the model's dtype policy. Under `tf.distribute` V is that of the
    global batch: a replica answers its share of the sum, and the shares add up to L.

    A subclass implements `pixel_loss(y_true, y_pred)`, which answers the loss of every pixel
    (finite at invalid pixels too) and the boolean map of the valid ones, both of the labels' shape
    without channels.

    Args:
        name: name of the loss.

    Call arguments:
        y_true: labels, with or without a channel axis of 1.
        y_pred: raw predictions of a branch.
        sample_weight: optional weights of shape `(B,)` or broadcastable to the pixels. They
            multiply the pixels' losses; the divisor stays the number of valid pixels.
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name, reduction="sum_over_batch_size", dtype="float32")

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        if sample_weight is not None:
            sample_weight = weight_map(sample_weight, rank=len(y_pred.shape) - 1)
        return super().__call__(y_true, y_pred, sample_weight)

    def pixel_loss(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        loss, valid = self.pixel_loss(y_true, y_pred)
        # Keras divides the sum by the number of all pixels and by the replicas: multiplying by both
        # and dividing by the valid pixels turns that into the mean over these.
        pixels = ops.cast(ops.prod(ops.convert_to_tensor(ops.shape(loss))), "float32") * replicas.replica_count()
        count = replicas.sum_over_replicas(ops.sum(ops.cast(valid, "float32")))
        return ops.where(valid, loss, 0.0) * (pixels / ops.maximum(count, 1.0))

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}
