"""The plain network that a task's branch amounts to: each shared convolution and its adapter as one kernel."""

from typing import Any

import keras
import numpy as np

from rc_keras.base.float64 import as_float64
from rc_keras.layers import Adapter, BankConcatConv2D, BankConv2D, ConcatConv2D, Conv2D, Frozen
from rc_keras.network.chains import chains
from rc_keras.network.copies import copy_layer, copy_weights, geometry
from rc_keras.network.shared_stages import without_frozen


def plain_network(branch: keras.Model, prefix: str) -> keras.Model:
    """Merges bank and adapters of a network, `W = W_t W_s`, in float64.

    `Frozen` layers become plain ones, which train. Norms stay as they are, but for the moving mean of one
    behind an adapter that shifts, as a series adapter does.

    Args:
        branch: a functional `keras.Model` on a bank.
        prefix: of the layers' names, which is left out.

    Returns:
        A functional `keras.Model` with layers of its own and the input and outputs of `branch`, which it equals in
        inference.

    Raises:
        ValueError: if an adapter is no linear map of the responses of one convolution without groups.
    """
    frozen = {layer.name for layer in branch.layers if isinstance(layer, Frozen)}
    branch = without_frozen(branch)
    following = {first.name: second for first, second in chains(branch)}
    weights: dict[str, list[np.ndarray]] = {}  # of merged convolutions
    shifts: dict[str, np.ndarray] = {}  # {name of a norm: what the adapter in front of it adds}
    absorbed: set[str] = set()

    def clone(layer: keras.Operation) -> keras.Operation:
        if layer.name in absorbed:
            return layer  # never called
        if not isinstance(layer, BankConv2D):
            copy = copy_layer(layer, name=layer.name.removeprefix(prefix))
            if layer.name in frozen:
                copy.trainable = True
            return copy
        adapters, behind = [], following.get(layer.name)
        while isinstance(behind, Adapter):
            adapters.append(behind)
            behind = following.get(behind.name)
        kernel, bias = _merged(layer, adapters)
        use_bias = any(adapter.use_bias for adapter in adapters)
        weights[layer.name] = [kernel, bias] if use_bias else [kernel]
        if not use_bias and np.any(bias):
            if not isinstance(behind, keras.layers.BatchNormalization):
                raise ValueError(
                    f"An adapter that shifts must have a bias or a norm behind it. Received: {layer.name!r}"
                )
            shifts[behind.name.removeprefix(prefix)] = bias
        absorbed.update(adapter.name for adapter in adapters)
        return _plain_form(layer, kernel.shape[-1], use_bias)

    def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        if layer.name in absorbed:
            return args[0]
        if isinstance(layer, Adapter):
            raise ValueError(
                "Each adapter must be a linear map of the responses of one convolution to be merged with it. "
                f"Received: {layer.name!r}, of {type(layer).__name__}"
            )
        return layer(*args, **kwargs)

    plain = keras.models.clone_model(branch, clone_function=clone, call_function=call)
    for layer in branch.layers:
        name = layer.name.removeprefix(prefix)
        if layer.name in weights:
            plain.get_layer(name).set_weights(weights[layer.name])
        elif getattr(layer, "weights", None) and layer.name not in absorbed:
            copy_weights(layer, plain.get_layer(name))
    for name, shift in shifts.items():
        norm = plain.get_layer(name)
        norm.moving_mean.assign((as_float64(norm.moving_mean) - shift).astype("float32"))
    return plain


def _merged(convolution: BankConv2D, adapters: list[Adapter]) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias, float32."""
    kernel, bias = as_float64(convolution.kernel), np.zeros(())
    for adapter in adapters:
        found = adapter.linear_map()
        if found is None or (convolution.groups > 1 and found[0].ndim == 2):
            raise ValueError(
                "Each adapter must be a linear map of the responses of one convolution without groups to be merged "
                f"with it. Received: {adapter.name!r}, of {type(adapter).__name__}"
            )
        matrix, offset = found
        if matrix.ndim == 2:
            kernel, bias = kernel @ matrix, np.broadcast_to(bias, len(matrix)) @ matrix + offset
        else:
            kernel, bias = kernel * matrix, bias * matrix + offset
    return kernel.astype("float32"), np.broadcast_to(bias, kernel.shape[-1]).astype("float32")


def _plain_form(layer: BankConv2D, filters: int, use_bias: bool) -> Conv2D:
    settings = {"use_bias": use_bias, "dtype": layer.dtype_policy, "name": layer.name}
    if isinstance(layer, BankConcatConv2D):
        return ConcatConv2D(filters, layer.kernel_size, reference=layer.reference, **settings)
    return Conv2D(filters, **geometry(layer), **settings)
