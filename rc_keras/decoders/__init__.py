"""Decoders: from a task's named feature maps to its prediction."""

import inspect
import json
import warnings
from typing import Any

import keras

from rc_keras.base.names import unknown_name
from rc_keras.decoders.decoder import Decoder
from rc_keras.decoders.deeplabv3plus import DeepLabV3Plus
from rc_keras.decoders.lraspp import LRASPP
from rc_keras.decoders.pooled import PooledHead

# A name of `build(decoder=…)` and its class, whose arguments all have defaults. See `Decoder` for what one must be.
DECODERS: dict[str, type[Decoder]] = {
    "deeplabv3plus": DeepLabV3Plus,
    "lraspp": LRASPP,
}


def get(decoder: Any) -> Decoder:
    """A decoder from its name, its serialized form, or itself.

    Args:
        decoder: a key of `DECODERS`, a `Decoder`, or its serialized form. Classes and functions in a
            `keras.saving.custom_object_scope` will do as well as registered ones.

    Raises:
        ValueError: for an unknown name, lists the valid ones; or for a decoder that a saved model could not be loaded
            with.
    """
    if isinstance(decoder, dict):
        return _checked(keras.saving.deserialize_keras_object(decoder))
    if isinstance(decoder, str) and decoder in DECODERS:
        return DECODERS[decoder]()
    _checked(decoder)
    try:
        reason = None if _comes_back(decoder) else "it comes back as something else"
    except Exception as error:  # of a class that is the user's, or of Keras
        reason = f"{type(error).__name__}: {error}"
    if reason is not None:
        raise ValueError(
            "`decoder` must be what a saved model can be loaded with: a function, or an object with `get_config` and "
            "`from_config`, that is decorated with `@keras.saving.register_keras_serializable()`. Received: "
            f"decoder={decoder!r}, which cannot be loaded: {reason}"
        )
    return decoder


def _checked(decoder: Any) -> Decoder:
    if isinstance(decoder, type) or not callable(decoder):
        raise unknown_name("decoder", decoder, DECODERS)
    return decoder


def _comes_back(decoder: Decoder) -> bool:
    """Whether Keras makes the same of a decoder's serialized form, without the user allowing it to run code."""
    serialize = keras.saving.serialize_keras_object
    with warnings.catch_warnings(action="ignore"):  # Keras's, about lambdas
        config = json.dumps(serialize(decoder))
    loaded = keras.saving.deserialize_keras_object(json.loads(config), safe_mode=True)
    return json.dumps(serialize(loaded)) == config and _origin(loaded) == _origin(decoder)


def _origin(decoder: Decoder) -> tuple[str, str]:
    """Where a decoder is defined: functions go by their bare name in Keras, which others may have too."""
    definition: Any = decoder if inspect.isfunction(decoder) else type(decoder)
    return definition.__module__, definition.__qualname__


__all__ = ["DECODERS", "LRASPP", "Decoder", "DeepLabV3Plus", "PooledHead", "get"]
