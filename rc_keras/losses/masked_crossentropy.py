"""Softmax cross-entropy of semantic segmentation, human parts and classification."""

from typing import Any

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.losses.masked_loss import MaskedLoss
from rc_keras.losses.pixels import label_map


@keras.saving.register_keras_serializable(package="rc_keras")
class MaskedCrossentropy(MaskedLoss):
    """Softmax cross-entropy over logits, ignored pixels left out.

    With logits z and label y of a pixel, l = log Σ_c exp(z_c) − z_y, averaged over the pixels with
    y ≠ `ignore`. A label outside 0 … C − 1 counts as ignored. The sum is 0, not NaN, where nothing
    is valid.

    Args:
        ignore: label of the pixels to leave out.
        name: name of the loss.

    Call arguments:
        y_true: class ids, `(B, H, W)` or `(B, H, W, 1)`; for classification `(B,)` or `(B, 1)`.
        y_pred: logits, `(B, H, W, C)` or `(B, C)`.
        sample_weight: see `MaskedLoss`.

    Example:

    >>> loss = MaskedCrossentropy(ignore=255)
    >>> loss(np.array([[[0, 255]]]), np.zeros((1, 1, 2, 4)))    # log 4
    1.3862944
    """

    def __init__(self, ignore: int = 255, name: str = "masked_crossentropy") -> None:
        super().__init__(name=name)
        self.ignore = ignore

    def pixel_loss(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        labels = label_map(y_true, y_pred)
        classes = y_pred.shape[-1]
        valid = (labels != self.ignore) & (labels >= 0) & (labels < classes)
        ids = ops.cast(ops.where(valid, labels, 0.0), "int32")
        # Flat, because torch would otherwise move the classes before the pixels in memory.
        loss = ops.sparse_categorical_crossentropy(
            ops.reshape(ids, (-1,)), ops.reshape(y_pred, (-1, classes)), from_logits=True
        )
        return ops.reshape(loss, ops.shape(labels)), valid

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ignore": self.ignore}
