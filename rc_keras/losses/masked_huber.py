"""Huber loss of numbers."""

from typing import Any

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.losses.masked_regression_loss import MaskedRegressionLoss


@keras.saving.register_keras_serializable(package="rc_keras")
class MaskedHuber(MaskedRegressionLoss):
    """Squared for small errors e = p − t and absolute for large ones: e² / 2 where |e| ≤ δ, else δ |e| − δ² / 2.

    The mean over channels and labelled pixels (Huber, 1964); where all are labelled, `keras.losses.Huber`.

    Args:
        delta: δ, above 0, in the unit of the labels.
        ignore, name: see `MaskedRegressionLoss`.

    Raises:
        ValueError: if `delta` is not above 0.
    """

    def __init__(self, delta: float = 1.0, ignore: int = -9999, name: str = "masked_huber") -> None:
        if not delta > 0:
            raise ValueError(f"`delta` must be above 0. Received: delta={delta}")
        super().__init__(ignore=ignore, name=name)
        self.delta = delta

    def error_loss(self, error: Tensor) -> Tensor:
        size = ops.abs(error)
        inside = ops.minimum(size, self.delta)
        return inside * (size - 0.5 * inside)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "delta": self.delta}
