"""Which layers of a backbone are its first stages, and a network whose stages are frozen as one where none are."""

import math
from typing import Any

import keras

from rc_keras.backbones.probe import Probe, probe
from rc_keras.layers import Frozen
from rc_keras.network.block_output import last_block_output


def shared_layers(backbone: keras.Model, shared_stages: int | str) -> set[str]:
    """Names of the layers of the stem and the first stages: the last layer of them, and all that it is computed from.

    Stages are those of the names `layer1_…`, `layer2_…`, where layers are named as torchvision's ResNets are: ours.
    In other networks stage s ends with the last output of a block at stride 2^(s + 1), so that the first has stride 4,
    and the last one with the last map; what was dilated counts as if it strided instead.

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
    ancestors: dict[str, set[str]] = {}
    seen = probe(backbone)
    for call in seen.calls:
        name = call.layer.name
        sources = [origins.get(id(tensor), set()) for tensor in call.inputs]
        ancestors[name] = ancestors.get(name, {name}).union(*sources)
        for tensor in call.outputs:
            origins[id(tensor)] = ancestors[name]
    stages = _stages(seen)
    last = shared_stages if isinstance(shared_stages, str) else _last_layer(shared_stages, seen, stages)
    if last not in ancestors:
        raise ValueError(
            "`shared_stages` must be a number of stages that `backbone` has, or the name of one of its layers. "
            f"Received: shared_stages={shared_stages!r}, backbone {backbone.name!r}; its feature maps have the strides "
            f"{sorted(2 ** (stage + 1) for stage in stages)}"
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


def _stages(seen: Probe) -> dict[int, list[int]]:
    """`{stage: calls that answer its feature maps}`; stage s is of stride 2^(s + 1), or dilated to as much."""
    rates: dict[int, int] = {}  # of tensors, by id: the largest dilation rate of the layers they are computed from
    stages: dict[int, list[int]] = {}
    for at, call in enumerate(seen.calls):
        own = max(getattr(call.layer, "dilation_rate", None) or (1,))
        rate = max([own, *(rates.get(id(tensor), 1) for tensor in call.inputs)])
        for tensor in call.outputs:
            rates[id(tensor)] = rate
            stride = seen.stride(tensor)
            if stride is not None:
                stages.setdefault(round(math.log2(stride * rate)) - 1, []).append(at)
    return stages


def _last_layer(stage: int, seen: Probe, stages: dict[int, list[int]]) -> str | None:
    """The last layer of a stage; `None`: there is no such stage."""
    names = [call.layer.name for call in seen.calls]
    if any(name.startswith("layer1_") for name in names):
        named = [name for name in names if name.startswith(f"layer{stage}_")]
        return named[-1] if named else None
    if stage not in stages:
        return None
    at = stages[stage][-1] if stage == max(stages) else last_block_output(seen, stages[stage])
    return None if at is None else names[at]
