"""Which layers of a backbone are its first stages, and a network whose stages are frozen as one where none are."""

import math
from typing import Any

import keras

from rc_keras.backbones.probe import probe
from rc_keras.layers import Frozen


def shared_layers(backbone: keras.Model, shared_stages: int | str) -> set[str]:
    """Names of the layers of the stem and the first stages: the last layer of them, and all that it is computed from.

    Stages are those of the names `layer1_…`, `layer2_…`, where layers are named as torchvision's ResNets are: ours.
    In other networks stage s ends with the last feature map of stride 2^(s + 1), so that the first has stride 4.

    Args:
        backbone: a functional `keras.Model` with one image input.
        shared_stages: how many stages; 0: no layer at all. Or the name of the last layer.

    Raises:
        ValueError: if there is no such stage or layer, or `shared_stages` is something else.
    """
    valid = isinstance(shared_stages, str) or (type(shared_stages) is int and shared_stages >= 0)
    if not valid:
        raise ValueError(
            "`shared_stages` must be a number of stages, 0 or more, or the name of a layer. "
            f"Received: shared_stages={shared_stages!r}"
        )
    if shared_stages == 0:
        return set()
    origins: dict[int, set[str]] = {}  # of tensors, by id: the layers that they are computed from
    strides: dict[str, int] = {}  # of the layers that answer feature maps, rounded to powers of two, as exponents
    ancestors: dict[str, set[str]] = {}
    seen = probe(backbone)
    for call in seen.calls:
        name = call.layer.name
        sources = [origins.get(id(tensor), set()) for tensor in call.inputs]
        ancestors[name] = ancestors.get(name, {name}).union(*sources)
        for tensor in call.outputs:
            origins[id(tensor)] = ancestors[name]
            if len(tensor.shape) == 4 and tensor.shape[1]:
                strides[name] = round(math.log2(seen.size[0] / tensor.shape[1]))
    last = _last_layer(shared_stages, strides)
    if last not in ancestors:
        stages = f"; its feature maps have the strides {sorted({2**e for e in strides.values()})}"
        raise ValueError(
            "`shared_stages` must be a number of stages that `backbone` has, or the name of one of its layers. "
            f"Received: shared_stages={shared_stages!r}, backbone {backbone.name!r}{stages}"
        )
    return ancestors[last]


def without_frozen(network: keras.Model) -> keras.Model:
    """The network with plain layers, the same objects, instead of `Frozen` ones; itself if it has none."""
    if not any(isinstance(layer, Frozen) for layer in network.layers):
        return network

    def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        return layer(*args, **{name: value for name, value in kwargs.items() if name != "mask" or value is not None})

    return keras.models.clone_model(
        network, clone_function=lambda layer: layer.layer if isinstance(layer, Frozen) else layer, call_function=call
    )


def _last_layer(shared_stages: int | str, strides: dict[str, int]) -> str | None:
    """The last layer of the stages, of those that answer feature maps, in the order they are called in."""
    if isinstance(shared_stages, str):
        return shared_stages
    if any(name.startswith("layer1_") for name in strides):
        found = [name for name in strides if name.startswith(f"layer{shared_stages}_")]
    else:
        found = [name for name, exponent in strides.items() if exponent == shared_stages + 1]
    return found[-1] if found else None
