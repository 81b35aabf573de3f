"""L1 loss of depth."""

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.losses.masked_loss import MaskedLoss
from rc_keras.losses.pixels import label_map


@keras.saving.register_keras_serializable(package="rc_keras")
class DepthL1(MaskedLoss):
    """Mean absolute difference of depth in metres, over pixels that have one.

    With prediction p and label t, L = Σ_{t≠0} |p − t| / N_v, N_v the number of pixels with t ≠ 0.

    Args:
        name: name of the loss.

    Call arguments:
        y_true: metres, or 0 where there is no label, `(B, H, W)` or `(B, H, W, 1)`.
        y_pred: metres, `(B, H, W, 1)`.
        sample_weight: see `MaskedLoss`.
    """

    def __init__(self, name: str = "depth_l1") -> None:
        super().__init__(name=name)

    def pixel_loss(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        labels = label_map(y_true, y_pred)
        return ops.abs(ops.squeeze(y_pred, axis=-1) - labels), labels != 0.0
