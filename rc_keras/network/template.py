"""The template of a bank: which convolutions of a network are shared, and the network with these as shared ones."""

from collections.abc import Container, Mapping
from typing import Any

import keras
import numpy as np

from rc_keras.layers import Adapter, BankConcatConv2D, BankConv2D, ConcatConv2D, Conv2D, Frozen
from rc_keras.methods import Method
from rc_keras.network.adapters import adapter_size, make_adapters, method_of
from rc_keras.network.copies import copy_layer, copy_variable, copy_weights, geometry
from rc_keras.network.donor import HEAD
from rc_keras.network.residual_blocks import with_squeeze_excite


def is_shared(layer: keras.Operation, method: Method) -> bool:
    """Whether `layer` is a convolution whose kernel goes into the bank (the graft rule).

    Raises:
        ValueError: if the layer is a convolution with channels first.
    """
    return _may_be_shared(layer, method) and adapter_size(method, layer) < int(np.prod(layer.kernel.shape))


def _may_be_shared(layer: keras.Operation, method: Method) -> bool:
    if not method.shares_kernels or type(layer) not in (keras.layers.Conv2D, Conv2D, ConcatConv2D):
        return False  # a subclass may compute something else with its kernel
    if layer.name == HEAD:
        return False  # each task has one of its own
    adapter = method_of(method, layer).adapter
    if isinstance(layer, ConcatConv2D) and adapter is not None and adapter.takes_inputs:
        return False  # an adapter of one map
    if layer.data_format != "channels_last":
        raise ValueError(
            f"Convolutions must have data_format='channels_last'. Received: layer {layer.name!r} with "
            f"data_format={layer.data_format!r}."
        )
    return True


def all_filters(network: keras.Model, method: Method, frozen: Container[str] = ()) -> dict[str, int]:
    """`{name: number of filters}` of the convolutions that could be shared, whatever an adapter adds.

    Args:
        network, method, frozen: see `make_template`.
    """
    layers = [layer for layer in network.layers if layer.name not in frozen]
    return {layer.name: layer.filters for layer in layers if _may_be_shared(layer, method)}


def make_template(
    network: keras.Model, method: Method, ranks: Mapping[str, int] | None = None, frozen: Container[str] = ()
) -> keras.Model:
    """The template of a network, see `FilterBank`.

    Args:
        network: a functional `keras.Model`.
        method: the `Method`.
        ranks: `{name of a convolution: number of its responses}` of those to share; the kernels then hold their first
            filters. `None`: those that the graft rule says, with all.
        frozen: names of the layers that are shared as a whole; those with variables become `Frozen`.
    """
    if ranks is None:
        layers = [layer for layer in network.layers if layer.name not in frozen]
        ranks = {layer.name: layer.filters for layer in layers if is_shared(layer, method)}
    else:
        _check_ranks(ranks, network, all_filters(network, method, frozen))
    originals = {}  # name of a bank convolution: the layer it stands for

    def clone(layer: keras.Operation) -> keras.Operation:
        if layer.name in frozen and getattr(layer, "variables", None):
            return Frozen(copy_layer(layer))
        if layer.name not in ranks:
            return copy_layer(layer)
        originals[layer.name] = layer
        return _bank_form(layer, ranks[layer.name])

    adapters = {}  # a convolution that is called twice has one of each

    def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        outputs = layer(*args, **kwargs)
        if not isinstance(layer, BankConv2D):
            return outputs
        if layer.name not in adapters:
            adapters[layer.name] = make_adapters(method, originals[layer.name], ranks[layer.name])
        for adapter in adapters[layer.name]:
            takes_inputs = isinstance(adapter, Adapter) and adapter.takes_inputs
            outputs = adapter(outputs, args[0]) if takes_inputs else adapter(outputs)
        return outputs

    template = keras.models.clone_model(network, clone_function=clone, call_function=call)
    if method.shares_kernels and not originals and not any(layer.name in frozen for layer in network.layers):
        hint = "" if method.pointwise else "; with `pointwise_rank`, 1x1 convolutions and dense layers are shared too"
        raise ValueError(
            f"`backbone` must hold convolutions larger than what a task adds to them for method {method.name!r}{hint}. "
            f"Received: {network.name!r} without any (nested models that are not functional are not looked into)"
        )
    for layer in network.layers:
        if layer.name in originals:
            kernel = keras.ops.convert_to_numpy(layer.kernel)[..., : ranks[layer.name]]
            template.get_layer(layer.name).kernel.assign(kernel)
            if layer.use_bias:
                biased = (a for a in adapters[layer.name] if isinstance(a, Adapter) and a.use_bias)
                copy_variable(layer.bias, next(biased).bias)
        elif layer.weights:
            copy_weights(layer, template.get_layer(layer.name))
    return with_squeeze_excite(template) if method.squeeze_excite else template


def _bank_form(layer: Conv2D, rank: int) -> BankConv2D:
    if isinstance(layer, ConcatConv2D):
        settings = {"reference": layer.reference, "dtype": layer.dtype_policy, "name": layer.name}
        return BankConcatConv2D(rank, layer.kernel_size, **settings)
    return BankConv2D(rank, **geometry(layer), dtype=layer.dtype_policy, name=layer.name)


def _check_ranks(ranks: Any, network: keras.Model, filters: Mapping[str, int]) -> None:
    if not isinstance(ranks, Mapping):
        raise ValueError(f"The ranks of a bank must be {{name: number of responses}}. Received: {ranks!r}")
    for name, rank in ranks.items():
        if not isinstance(rank, int) or not 1 <= rank <= filters.get(name, 0):
            raise ValueError(
                "`backbone` must hold the convolutions of the bank, with at least as many filters as it has responses. "
                f"Received: {network.name!r} with {filters.get(name, 0)} filters of {name!r} for rank={rank!r}"
            )
