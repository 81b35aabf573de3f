"""Focal loss of maps of yes and no."""

from typing import Any

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.losses.focal import check_gamma, focal
from rc_keras.losses.masked_binary_crossentropy import MaskedBinaryCrossentropy
from rc_keras.losses.pixels import binary_map


@keras.saving.register_keras_serializable(package="rc_keras")
class MaskedBinaryFocalCrossentropy(MaskedBinaryCrossentropy):
    """Binary cross-entropy that looks at hard pixels more than at easy ones, ignored pixels left out.

    With the probability p of what the label says, l = −w (1 − p)^γ log p, averaged as by `MaskedBinaryCrossentropy`
    (Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017); w is α for label 1 and 1 − α for label 0 with
    `apply_class_balancing`, else 1. Equal to `keras.losses.BinaryFocalCrossentropy` of logits, which keeps p within
    1e-7 of 0 and 1, where every pixel has a label.

    Args:
        apply_class_balancing: whether α weights the classes.
        alpha: α, between 0 and 1.
        gamma: γ, at least 0.
        ignore: label of the pixels to leave out.
        name: name of the loss.

    Call arguments:
        y_true, y_pred, sample_weight: see `MaskedBinaryCrossentropy`.

    Raises:
        ValueError: if `alpha` is not between 0 and 1, or `gamma` negative.
    """

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        ignore: int = 255,
        name: str = "masked_binary_focal_crossentropy",
    ) -> None:
        super().__init__(ignore=ignore, name=name)
        if not 0.0 <= alpha <= 1.0:
            raise ValueError(f"`alpha` must be between 0 and 1. Received: alpha={alpha}")
        self.apply_class_balancing = bool(apply_class_balancing)
        self.alpha = alpha
        self.gamma = check_gamma(gamma)

    def pixel_loss(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        crossentropy, valid = super().pixel_loss(y_true, y_pred)
        loss = focal(crossentropy, self.gamma)
        if self.apply_class_balancing:
            positive, _ = binary_map(y_true, y_pred, self.ignore)
            loss *= ops.cast(ops.where(positive, self.alpha, 1.0 - self.alpha), loss.dtype)
        return loss, valid

    def get_config(self) -> dict[str, Any]:
        own = {"apply_class_balancing": self.apply_class_balancing, "alpha": self.alpha, "gamma": self.gamma}
        return {**super().get_config(), **own}
