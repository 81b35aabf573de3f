"""What a task adds to a convolution of the bank."""

import keras

from rc_keras.layers import Adapter, Bias
from rc_keras.methods import Method


def adapter_size(method: Method, convolution: keras.layers.Conv2D) -> int:
    """Number of parameters that a `Method` adds for each task to a convolution; biases and gains are not counted."""
    adapter = _adapter(method, convolution)
    *_, c_in, c_out = convolution.kernel.shape
    return 0 if adapter is None else adapter.size(c_in * convolution.groups, c_out)


def make_adapters(method: Method, convolution: keras.layers.Conv2D) -> list[keras.layers.Layer]:
    """The layers a task has behind a bank convolution, in their order; with them it computes what it computed.

    Args:
        method: the `Method`.
        convolution: the `keras.layers.Conv2D` the bank convolution stands for.
    """
    adapter = _adapter(method, convolution)
    layers: list[keras.layers.Layer] = [] if adapter is None else [adapter]
    if convolution.use_bias and not (adapter is not None and adapter.use_bias):
        layers.append(Bias.from_convolution(convolution))
    if convolution.activation is not keras.activations.linear:
        name = f"{convolution.name}_activation"
        layers.append(keras.layers.Activation(convolution.activation, dtype=convolution.dtype_policy, name=name))
    return layers


def adapter_of(template: keras.Model, convolution: str, method: Method) -> Adapter:
    """The adapter that stands behind a convolution of the bank in a template, or in another network of these names."""
    if method.adapter is None:
        raise ValueError(f"`method` must have an adapter. Received: {method.name!r}")
    return template.get_layer(f"{convolution}_{method.adapter.suffix}")


def _adapter(method: Method, convolution: keras.layers.Conv2D) -> Adapter | None:
    return None if method.adapter is None else method.adapter.from_convolution(convolution, **method.settings)
