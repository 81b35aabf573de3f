"""L1 loss of surface normals."""

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.losses.masked_loss import MaskedLoss
from rc_keras.losses.pixels import vector_map


@keras.saving.register_keras_serializable(package="rc_keras")
class NormalsL1(MaskedLoss):
    """Mean absolute difference of normals, over pixels that have one.

    With prediction p and label t, L = Σ_{‖t‖>0} |p − t|₁ / (3 N_v), N_v the number of pixels with
    ‖t‖ > 0. Neither side is normalized here: a branch answers unit vectors, and labels are taken
    as they come, which after resizing may be a little short.

    Args:
        name: name of the loss.

    Call arguments:
        y_true: unit vectors, or zero where there is no label, `(B, H, W, 3)`.
        y_pred: unit vectors, `(B, H, W, 3)`.
        sample_weight: see `MaskedLoss`.
    """

    def __init__(self, name: str = "normals_l1") -> None:
        super().__init__(name=name)

    def pixel_loss(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        labels = vector_map(y_true, y_pred)
        valid = ops.any(labels != 0.0, axis=-1)
        return ops.mean(ops.abs(y_pred - labels), axis=-1), valid
