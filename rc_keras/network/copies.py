"""Copies of layers and weights."""

import json
from typing import Any

import keras

from rc_keras.layers import BatchNormalization, Conv2D

SEPARATOR = "__"  # between the name of a task and that of the layer that a layer of its own was copied from


def copy_layer(layer: keras.Operation, name: str | None = None) -> keras.Operation:
    """A fresh layer with the configuration of `layer`, in the class of this package where there is one.

    It computes the same; but see `rc_keras.layers.BatchNormalization` for the moving variance.

    Raises:
        ValueError: if it is a layer that does not come back from its configuration, as files keep it.
    """
    faster: dict[type[keras.Operation], type[keras.Operation]] = {
        keras.layers.Conv2D: Conv2D,
        keras.layers.BatchNormalization: BatchNormalization,
    }
    try:
        config = layer.get_config()
        if isinstance(layer, keras.Layer) or name is not None:  # some configurations lack the name
            config["name"] = name or layer.name
        copy = faster.get(type(layer), type(layer)).from_config(config)
        if isinstance(layer, keras.Layer) and layer.weights and not type(layer).__module__.startswith("keras."):
            copy.build_from_config(json.loads(json.dumps(layer.get_build_config())))  # tuples become lists
        return copy
    except Exception as error:  # of layers that anyone wrote
        reason = str(error).rpartition("Exception encountered: ")[2].strip().partition("\n\n")[0]
        raise ValueError(
            "Layers of a network must come back by `from_config` and `build_from_config` from what `get_config` and "
            "`get_build_config` answer, with lists for tuples, as they do from a file. "
            f"Received: layer {layer.name!r}, of {type(layer).__name__}: {' '.join(reason.split())}"
        ) from error


def geometry(convolution: keras.layers.Layer) -> dict[str, Any]:
    """Arguments of a 2D convolution that say where its kernel lies; every form of one convolution has the same."""
    names = ("kernel_size", "strides", "padding", "dilation_rate", "groups")
    return {name: getattr(convolution, name) for name in names}


def copy_weights(source: keras.Layer, target: keras.Layer) -> None:
    """Assigns the weights of a layer to another layer of the same configuration."""
    for old, new in zip(source.weights, target.weights, strict=True):
        copy_variable(old, new)


def copy_variable(source: keras.Variable, target: keras.Variable) -> None:
    """Assigns the value of a variable; by way of NumPy, since JAX would let both share one buffer."""
    target.assign(keras.ops.convert_to_numpy(source))
