"""Class-balanced binary cross-entropy of edge detection."""

from typing import Any

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.losses.masked_loss import MaskedLoss
from rc_keras.losses.pixels import binary_map


@keras.saving.register_keras_serializable(package="rc_keras")
class BalancedBinaryCrossentropy(MaskedLoss):
    """Binary cross-entropy over logits with a fixed weight for the rare positives.

    With β = `positive_weight`, logit z, y = [label ≥ 0.5] and l = log(1 + exp(z)) − y z,

        L = (β Σ_{y=1} l + (1 − β) Σ_{y=0} l) / N_v,

    over the N_v pixels whose label lies in [0, 1] and is not `ignore`. RCM's edge loss, β = 0.95
    (Kanakis et al., ECCV 2020, after Xie and Tu, "Holistically-Nested Edge Detection").

    Args:
        positive_weight: β, between 0 and 1.
        ignore: label of the pixels to leave out.
        name: name of the loss.

    Call arguments:
        y_true: maps of 0, 1 and `ignore`, `(B, H, W)` or `(B, H, W, 1)`.
        y_pred: logits, `(B, H, W, 1)`.
        sample_weight: see `MaskedLoss`.

    Raises:
        ValueError: if `positive_weight` is not between 0 and 1.
    """

    def __init__(
        self, positive_weight: float = 0.95, ignore: int = 255, name: str = "balanced_binary_crossentropy"
    ) -> None:
        if not 0.0 <= positive_weight <= 1.0:
            raise ValueError(f"`positive_weight` must be between 0 and 1. Received: positive_weight={positive_weight}")
        super().__init__(name=name)
        self.positive_weight = positive_weight
        self.ignore = ignore

    def pixel_loss(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        positive, valid = binary_map(y_true, y_pred, self.ignore)
        logits = ops.squeeze(y_pred, axis=-1)
        weight = ops.where(positive, self.positive_weight, 1.0 - self.positive_weight)
        weight = ops.cast(weight, logits.dtype)
        # log(1 + e^z) - y z = softplus(±z), which neither overflows nor cancels.
        return weight * ops.softplus(ops.where(positive, -logits, logits)), valid

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "positive_weight": self.positive_weight,
            "ignore": self.ignore,
        }
