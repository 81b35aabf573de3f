"""Dice loss of segmentation, and of maps of yes and no."""

import operator
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from rc_keras.base import replicas
from rc_keras.base.keras_types import Tensor
from rc_keras.losses.pixels import binary_map, label_map, weight_map


@keras.saving.register_keras_serializable(package="rc_keras")
class MaskedDice(keras.losses.Loss):
    """One minus the overlap of predicted probabilities and labels, ignored pixels left out.

    With probabilities p (softmax of several logits, sigmoid of one), labels t (one-hot, or 0 and 1), and weights w that
    are 0 where there is no label, else those of the caller or 1,

        L = 1 − (2 Σ w p t + ε) / (Σ w p + Σ w t + ε),    ε = `keras.config.epsilon()`,

    (Milletari et al., "V-Net", 3DV 2016). Equal to `keras.losses.Dice` of the probabilities and one-hot labels, where
    every pixel has a label. 0 with zero gradient where none has. Under `tf.distribute` the sums are those of the global
    batch, as far as `axis` names the batch; a replica answers its share of the loss.

    Args:
        axis: axes of `(B, H, W, C)` that the sums run over, as of `keras.losses.Dice`; `None`: all. Then the loss is
            the mean over what is left, among those with a label: `(1, 2, 3)`, one overlap an image; `(0, 1, 2)`, one
            a class, so that small classes count as much as large ones.
        ignore: label of the pixels to leave out; those that are no class are left out too.
        name: name of the loss.

    Call arguments:
        y_true: class ids, or maps of 0 and 1, `(B, H, W)` or `(B, H, W, 1)`; for classification `(B,)` or `(B, 1)`.
        y_pred: logits, `(B, H, W, C)` or `(B, C)`.
        sample_weight: optional weights of shape `(B,)` or broadcastable to the pixels, which multiply what a pixel adds
            to each sum; 0 leaves it out.
    """

    def __init__(self, axis: int | Sequence[int] | None = None, ignore: int = 255, name: str = "masked_dice") -> None:
        super().__init__(name=name, reduction="sum_over_batch_size", dtype="float32")
        listed = [axis] if isinstance(axis, int) else axis
        self.axis = None if listed is None else tuple(operator.index(a) for a in listed)
        self.ignore = ignore

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        y_true, y_pred = (ops.convert_to_tensor(values, dtype="float32") for values in (y_true, y_pred))
        rank = len(y_pred.shape)
        truth, probability, valid = self._maps(y_true, y_pred)
        weight = ops.expand_dims(ops.cast(valid, "float32"), -1)
        if sample_weight is not None:
            weight *= ops.expand_dims(weight_map(sample_weight, rank - 1), -1)
        axes = tuple(range(rank)) if self.axis is None else tuple(sorted({a % rank for a in self.axis}))
        both, either, known = (
            ops.sum(weight * values, axis=axes)
            for values in (truth * probability, truth + probability, ops.ones_like(truth))
        )
        if 0 in axes:
            both, either, known = replicas.sum_over_replicas([both, either, known])
        epsilon = keras.config.epsilon()
        loss = 1.0 - (2.0 * both + epsilon) / (either + epsilon)
        count = ops.sum(ops.cast(known > 0.0, "float32"))
        count = count * replicas.replica_count() if 0 in axes else replicas.sum_over_replicas(count)
        return ops.sum(ops.where(known > 0.0, loss, 0.0)) / ops.maximum(count, 1.0)

    def _maps(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Labels and probabilities in the shape of the prediction, and which pixels have a label."""
        channels = y_pred.shape[-1]
        if channels == 1:
            positive, valid = binary_map(y_true, y_pred, self.ignore)
            return ops.expand_dims(ops.cast(positive, "float32"), -1), ops.sigmoid(y_pred), valid
        labels = label_map(y_true, y_pred)
        valid = (labels != self.ignore) & (labels >= 0) & (labels < channels)
        ids = ops.cast(ops.where(valid, labels, 0.0), "int32")
        return ops.one_hot(ids, channels, dtype="float32"), ops.softmax(y_pred, axis=-1), valid

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return self(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "axis": None if self.axis is None else list(self.axis), "ignore": self.ignore}
