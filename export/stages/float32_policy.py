"""Exports compute in float32, whatever the user trains in."""

import contextlib
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def float32_policy() -> Iterator[None]:
    """Context in which new layers are of float32, also where Keras's global policy is a mixed one."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
