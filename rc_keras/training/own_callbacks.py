"""The callbacks that `fit` brings to those of the user."""

from typing import Any

import keras


def with_own_callbacks(callbacks: Any, own: list[keras.callbacks.Callback], model: keras.Model) -> Any:
    """The callbacks of `fit`, as Keras takes them, with those of `own` of whose class there is none yet."""
    whole = isinstance(callbacks, keras.callbacks.CallbackList)
    listed = callbacks.callbacks if whole else keras.tree.flatten([] if callbacks is None else callbacks)
    for callback in own:
        if not any(isinstance(other, type(callback)) for other in listed):
            listed.append(callback)
            callback.set_model(model)
    return callbacks if whole else listed
