"""Binary cross-entropy of saliency."""

from typing import Any

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.losses.masked_loss import MaskedLoss
from rc_keras.losses.pixels import binary_map


@keras.saving.register_keras_serializable(package="rc_keras")
class MaskedBinaryCrossentropy(MaskedLoss):
    """Binary cross-entropy over logits, ignored pixels left out.

    With logit z and y = [label ≥ 0.5] of a pixel, l = log(1 + exp(z)) − y z, averaged over the
    pixels whose label lies in [0, 1] and is not `ignore`. (The paper's code adds log 2 to the sum
    for each ignored pixel; this mean does not, so logged values differ while gradients agree.)

    Args:
        ignore: label of the pixels to leave out.
        name: name of the loss.

    Call arguments:
        y_true: maps of 0, 1 and `ignore`, `(B, H, W)` or `(B, H, W, 1)`.
        y_pred: logits, `(B, H, W, 1)`.
        sample_weight: see `MaskedLoss`.
    """

    def __init__(self, ignore: int = 255, name: str = "masked_binary_crossentropy") -> None:
        super().__init__(name=name)
        self.ignore = ignore

    def pixel_loss(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        positive, valid = binary_map(y_true, y_pred, self.ignore)
        logits = ops.squeeze(y_pred, axis=-1)
        # log(1 + e^z) - y z = softplus(±z), which neither overflows nor cancels.
        return ops.softplus(ops.where(positive, -logits, logits)), valid

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ignore": self.ignore}
