"""Mean absolute error of numbers."""

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.losses.masked_regression_loss import MaskedRegressionLoss


@keras.saving.register_keras_serializable(package="rc_keras")
class MaskedMeanAbsoluteError(MaskedRegressionLoss):
    """Mean of |p − t| over channels and labelled pixels; where all are, `keras.losses.MeanAbsoluteError`.

    Arguments as of `MaskedRegressionLoss`.
    """

    def __init__(self, ignore: int = -9999, name: str = "masked_mean_absolute_error") -> None:
        super().__init__(ignore=ignore, name=name)

    def error_loss(self, error: Tensor) -> Tensor:
        return ops.abs(error)
