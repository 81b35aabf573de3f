"""Losses of dense tasks: means over the labelled pixels, 0 where there are none."""

from rc_keras.losses.balanced_binary_crossentropy import BalancedBinaryCrossentropy
from rc_keras.losses.depth_l1 import DepthL1
from rc_keras.losses.masked_binary_crossentropy import MaskedBinaryCrossentropy
from rc_keras.losses.masked_binary_focal_crossentropy import MaskedBinaryFocalCrossentropy
from rc_keras.losses.masked_crossentropy import MaskedCrossentropy
from rc_keras.losses.masked_dice import MaskedDice
from rc_keras.losses.masked_focal_crossentropy import MaskedFocalCrossentropy
from rc_keras.losses.masked_huber import MaskedHuber
from rc_keras.losses.masked_loss import MaskedLoss
from rc_keras.losses.masked_mean_absolute_error import MaskedMeanAbsoluteError
from rc_keras.losses.masked_mean_squared_error import MaskedMeanSquaredError
from rc_keras.losses.normals_l1 import NormalsL1

__all__ = [
    "BalancedBinaryCrossentropy",
    "DepthL1",
    "MaskedBinaryCrossentropy",
    "MaskedBinaryFocalCrossentropy",
    "MaskedCrossentropy",
    "MaskedDice",
    "MaskedFocalCrossentropy",
    "MaskedHuber",
    "MaskedLoss",
    "MaskedMeanAbsoluteError",
    "MaskedMeanSquaredError",
    "NormalsL1",
]
