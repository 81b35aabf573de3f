"""Copies of layers and weights."""

import keras

from rc_keras.layers import BatchNormalization, Conv2D

SEPARATOR = "__"  # between the name of a task and that of the layer that a layer of its own was copied from


def copy_layer(layer: keras.Operation, name: str | None = None) -> keras.Operation:
    """A fresh layer with the configuration of `layer`, in the class of this package where there is one.

    It computes the same; but see `rc_keras.layers.BatchNormalization` for the moving variance.
    """
    faster: dict[type[keras.Operation], type[keras.Operation]] = {
        keras.layers.Conv2D: Conv2D,
        keras.layers.BatchNormalization: BatchNormalization,
    }
    config = layer.get_config()
    if name is not None:
        config["name"] = name
    return faster.get(type(layer), type(layer)).from_config(config)


def copy_weights(source: keras.Layer, target: keras.Layer) -> None:
    """Assigns the weights of a layer to another layer of the same configuration."""
    for old, new in zip(source.weights, target.weights, strict=True):
        copy_variable(old, new)


def copy_variable(source: keras.Variable, target: keras.Variable) -> None:
    """Assigns the value of a variable; by way of NumPy, since JAX would let both share one buffer."""
    target.assign(keras.ops.convert_to_numpy(source))
