"""Focal loss of classes."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.losses.focal import check_gamma, focal
from rc_keras.losses.masked_crossentropy import MaskedCrossentropy
from rc_keras.losses.pixels import label_map


@keras.saving.register_keras_serializable(package="rc_keras")
class MaskedFocalCrossentropy(MaskedCrossentropy):
    """Softmax cross-entropy that looks at hard pixels more than at easy ones, ignored pixels left out.

    With the probability p of a pixel's class, l = −α (1 − p)^γ log p, averaged as by `MaskedCrossentropy` (Lin et al.,
    "Focal Loss for Dense Object Detection", ICCV 2017). Equal to `keras.losses.CategoricalFocalCrossentropy` of logits
    and one-hot labels, which keeps p within 1e-7 of 0 and 1, where every pixel has a label.

    Args:
        alpha: α, a number, or one for each class.
        gamma: γ, at least 0; 0: plain cross-entropy times α.
        ignore: label of the pixels to leave out.
        name: name of the loss.

    Call arguments:
        y_true, y_pred, sample_weight: see `MaskedCrossentropy`.

    Raises:
        ValueError: if `gamma` is negative.
    """

    def __init__(
        self,
        alpha: float | Sequence[float] = 0.25,
        gamma: float = 2.0,
        ignore: int = 255,
        name: str = "masked_focal_crossentropy",
    ) -> None:
        super().__init__(ignore=ignore, name=name)
        self.alpha: float | list[float] = [float(a) for a in alpha] if isinstance(alpha, Sequence) else alpha
        self.gamma = check_gamma(gamma)

    def pixel_loss(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        crossentropy, valid = super().pixel_loss(y_true, y_pred)
        alpha = self.alpha
        if isinstance(alpha, list):
            if len(alpha) != y_pred.shape[-1]:
                raise ValueError(
                    f"`alpha` must be a number, or one for each of {y_pred.shape[-1]} classes. Received: alpha={alpha}"
                )
            ids = ops.cast(ops.where(valid, label_map(y_true, y_pred), 0.0), "int32")
            alpha = ops.take(ops.convert_to_tensor(alpha, dtype=crossentropy.dtype), ids)
        return alpha * focal(crossentropy, self.gamma), valid

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha, "gamma": self.gamma}
