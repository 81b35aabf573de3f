"""What the losses of numbers have in common."""

from typing import Any

from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.losses.masked_loss import MaskedLoss
from rc_keras.losses.pixels import number_map


class MaskedRegressionLoss(MaskedLoss):
    """A loss of the error of numbers, averaged over the channels, and over the pixels with a label.

    A subclass implements `error_loss(error)`, elementwise.

    Args:
        ignore: label, in all channels, of the pixels to leave out.
        name: name of the loss.

    Call arguments:
        y_true: numbers, of the prediction's shape; `(B, H, W)` too where that has one channel.
        y_pred: numbers, `(B, H, W, C)`.
        sample_weight: see `MaskedLoss`.
    """

    def __init__(self, ignore: int = -9999, name: str | None = None) -> None:
        super().__init__(name=name)
        self.ignore = ignore

    def error_loss(self, error: Tensor) -> Tensor:
        raise NotImplementedError

    def pixel_loss(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        labels, valid = number_map(y_true, y_pred, self.ignore)
        error = ops.where(ops.expand_dims(valid, -1), y_pred - labels, 0.0)
        return ops.mean(self.error_loss(error), axis=-1), valid

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ignore": self.ignore}
