"""What the focal losses have in common."""

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor


def focal(crossentropy: Tensor, gamma: float) -> Tensor:
    """(1 − p)^γ (−log p), from −log p; 1 − p is kept above 1e-7, where a power may have no slope."""
    missing = ops.maximum(-ops.expm1(-crossentropy), keras.config.epsilon())
    return ops.power(missing, gamma) * crossentropy


def check_gamma(gamma: float) -> float:
    """γ as it is, if it is at least 0; otherwise a `ValueError`."""
    if not gamma >= 0:
        raise ValueError(f"`gamma` must be at least 0. Received: gamma={gamma}")
    return gamma
