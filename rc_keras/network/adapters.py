"""What a task adds to a convolution of the bank."""

import keras

from rc_keras.layers import Adapter, BankConv2D, Bias
from rc_keras.methods import Method


def method_of(method: Method, convolution: keras.layers.Layer, rank: int | None = None) -> Method:
    """The row of a method that says what stands behind a convolution: that of pointwise kernels, or the method itself.

    Args:
        method: the `Method`.
        convolution: the `keras.layers.Conv2D`.
        rank: how many responses the bank keeps of it; `None`: all. One that is cut has the method's own adapter.
    """
    cut = rank is not None and rank < convolution.filters
    if method.pointwise is None or cut or tuple(convolution.kernel_size) != (1, 1):
        return method
    return method.pointwise


def adapter_size(method: Method, convolution: keras.layers.Conv2D) -> int:
    """Number of parameters that a `Method` adds for each task to a convolution; biases and gains are not counted."""
    adapter = _adapter(method_of(method, convolution), convolution)
    *_, c_in, c_out = convolution.kernel.shape
    return 0 if adapter is None else adapter.size(c_in * convolution.groups, c_out)


def make_adapters(
    method: Method, convolution: keras.layers.Conv2D, rank: int | None = None
) -> list[keras.layers.Layer]:
    """The layers a task has behind a bank convolution, in their order; with them it computes what it computed.

    Args:
        method: the `Method`.
        convolution: the `keras.layers.Conv2D` the bank convolution stands for.
        rank: see `method_of`.
    """
    adapter = _adapter(method_of(method, convolution, rank), convolution)
    layers: list[keras.layers.Layer] = [] if adapter is None else [adapter]
    if convolution.use_bias and not (adapter is not None and adapter.use_bias):
        layers.append(Bias.from_convolution(convolution))
    if convolution.activation is not keras.activations.linear:
        name = f"{convolution.name}_activation"
        layers.append(keras.layers.Activation(convolution.activation, dtype=convolution.dtype_policy, name=name))
    return layers


def adapter_of(template: keras.Model, convolution: str, method: Method) -> Adapter:
    """The method's own adapter behind a bank convolution in a template, or in another network of these names."""
    if method.adapter is None:
        raise ValueError(f"`method` must have an adapter. Received: {method.name!r}")
    return template.get_layer(f"{convolution}_{method.adapter.suffix}")


def own_convolutions(template: keras.Model, method: Method) -> list[BankConv2D]:
    """The bank convolutions of a template without those behind which the adapter of pointwise kernels stands."""
    convolutions = [layer for layer in template.layers if isinstance(layer, BankConv2D)]
    if method.pointwise is None or method.pointwise.adapter is None:
        return convolutions
    names, suffix = {layer.name for layer in template.layers}, method.pointwise.adapter.suffix
    return [layer for layer in convolutions if f"{layer.name}_{suffix}" not in names]


def is_drawn(adapter: keras.Operation, method: Method) -> bool:
    """Whether a task draws a start of its own for a layer, see `Method.drawn`."""
    if not isinstance(adapter, Adapter):
        return False
    pointwise = method.pointwise
    if pointwise is not None and type(adapter) is pointwise.adapter:
        return pointwise.drawn
    return method.drawn


def _adapter(method: Method, convolution: keras.layers.Conv2D) -> Adapter | None:
    return None if method.adapter is None else method.adapter.from_convolution(convolution, **method.settings)
