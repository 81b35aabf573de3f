"""Decoders: from a task's named feature maps to its prediction."""

from rc_keras.decoders.deeplabv3plus import DeepLabV3Plus
from rc_keras.decoders.pooled import PooledHead
from rc_keras.names import unknown_name

DECODERS = {"deeplabv3plus": DeepLabV3Plus}


def get(decoder):
    """A decoder from its name, its serialized form, or itself.

    Raises:
        ValueError: for an unknown name; lists the valid ones.
    """
    import keras

    if isinstance(decoder, dict):
        decoder = keras.saving.deserialize_keras_object(decoder)
    if isinstance(decoder, str):
        if decoder not in DECODERS:
            raise unknown_name("decoder", decoder, DECODERS)
        return DECODERS[decoder]()
    if not callable(decoder):
        raise unknown_name("decoder", decoder, DECODERS)
    return decoder


__all__ = ["DECODERS", "DeepLabV3Plus", "PooledHead", "get"]
