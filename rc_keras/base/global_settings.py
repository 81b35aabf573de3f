"""Keras's global settings, as layers of this package are made under, whatever the user has set by then."""

import contextlib
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def global_settings(dtype_policy: str | keras.DTypePolicy) -> Iterator[None]:
    """Context in which new layers have a dtype policy, and channels last, unless they are told otherwise.

    Args:
        dtype_policy: the policy, or its name.
    """
    before = keras.config.dtype_policy(), keras.config.image_data_format()
    keras.config.set_dtype_policy(dtype_policy)
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before[0])
        keras.config.set_image_data_format(before[1])
