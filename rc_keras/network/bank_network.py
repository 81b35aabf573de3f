"""The network that a bank is made of: a backbone with its layers in the forms in which a bank shares kernels."""

from collections.abc import Collection

import keras

from rc_keras.base.uncompiled import uncompiled
from rc_keras.methods import Method, get_method
from rc_keras.network.copies import copy_layer, copy_weights
from rc_keras.network.donor import HEAD, PREFIX
from rc_keras.network.features import check_functional
from rc_keras.network.opened import opened
from rc_keras.network.pointwise import with_depthwise_parts, with_pointwise_convolutions
from rc_keras.network.shared_stages import shared_layers


def method_with(method: str | Method, pointwise_rank: int | None) -> Method:
    method = get_method(method)
    return method if pointwise_rank is None else method.with_pointwise_rank(pointwise_rank)


def opened_backbone(backbone: keras.Model, method: Method, kept: Collection[str] = ()) -> keras.Model:
    """The backbone as a bank takes it; `kept` stays closed, as it was where a file has its weights."""
    check_functional(backbone)
    backbone = opened(uncompiled(backbone), method.pointwise is not None, kept)
    for layer in backbone.layers:
        if _is_reserved(layer):
            raise ValueError(
                "`backbone` must not have a layer named 'output' or 'decoder_…', names that each task's branch uses. "
                f"Received: layer {layer.name!r}"
            )
    return backbone


def without_reserved_names(network: keras.Model) -> keras.Model:
    """The network with `backbone_` before the names that each task's branch uses; itself if it has none of them."""
    if not any(map(_is_reserved, network.layers)):
        return network

    def clone(layer: keras.Operation) -> keras.Operation:
        return copy_layer(layer, name=f"backbone_{layer.name}") if _is_reserved(layer) else layer

    renamed = keras.models.clone_model(network, clone_function=clone)
    for layer in filter(_is_reserved, network.layers):
        if getattr(layer, "weights", None):
            copy_weights(layer, renamed.get_layer(f"backbone_{layer.name}"))
    return renamed


def _is_reserved(layer: keras.Operation) -> bool:
    return layer.name == "output" or layer.name.startswith(PREFIX)


def in_convolutions(network: keras.Model, method: Method) -> keras.Model:
    """The network whose convolutions a bank shares; each task has a head of its own."""
    return network if method.pointwise is None else with_pointwise_convolutions(network, kept=(HEAD,))


def stage_layers(encoder: keras.Model, method: Method, shared_stages: int | str) -> set[str]:
    """Names of the layers that are shared as a whole."""
    if shared_stages != 0 and not method.shares_kernels:
        raise ValueError(
            f"`shared_stages` must be 0 with method {method.name!r}, which has no frozen bank. "
            f"Received: shared_stages={shared_stages!r}"
        )
    names = shared_layers(encoder, shared_stages)
    return names if method.pointwise is None else with_depthwise_parts(names)
