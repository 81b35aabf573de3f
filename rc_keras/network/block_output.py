"""Which of the maps of a stage is the output of a block."""

from collections.abc import Iterable

import keras

from rc_keras.backbones.probe import Call, Probe
from rc_keras.network.norms import NORMS

_MERGES = ("Add", "Concatenate")  # layers and operations
_PADDINGS = (keras.layers.ZeroPadding2D, keras.layers.Cropping2D)
_ACTIVATIONS = ("Activation", "ReLU", "LeakyReLU", "Relu", "Relu6", "Silu", "Gelu", "HardSilu", "Sigmoid")


def last_block_output(seen: Probe, stage: Iterable[int]) -> int | None:
    """The last output of a block among the maps of a stage, not the interior of the block that strides on.

    Where maps of the stage are added or concatenated, as behind residual and dense blocks, it is the last such sum of
    the most channels (fewer has what NASNet puts together for its next cell), with the norm and activation behind it if
    nothing else uses it; not with a norm alone, which is the beginning of what follows, as in ConvNeXt. In a chain it
    is the last map that is not a padded or cropped one, and not one that a pointwise convolution widened for a
    depthwise one to stride, as inverted residual blocks do.

    Args:
        seen: the `Probe` of a network.
        stage: the indices in `seen.calls` of the calls that answer the maps, as `Probe.maps` lists them.

    Returns:
        One of the indices, or that of the map before it; `None`: there are no maps.
    """
    makers = {id(tensor): at for at, call in enumerate(seen.calls) for tensor in call.outputs}
    users: dict[int, list[int]] = {at: [] for at in range(len(seen.calls))}
    for at, call in enumerate(seen.calls):
        for tensor in {id(tensor) for tensor in call.inputs} & makers.keys():
            users[makers[tensor]].append(at)
    maps = [at for at in stage if not isinstance(seen.calls[at].layer, _PADDINGS)]
    merges = [at for at in maps if _is_merge(seen.calls[at])]
    if not merges:
        return _before_widening(seen, maps[-1], makers, users) if maps else None
    at = last = max(merges, key=lambda at: (seen.calls[at].outputs[0].shape[-1], at))
    while len(users[at]) == 1 and users[at][0] in maps and _is_norm_or_activation(seen.calls[users[at][0]].layer):
        (at,) = users[at]
        if not isinstance(seen.calls[at].layer, NORMS) or not users[at]:
            last = at
    return last


def _is_merge(call: Call) -> bool:
    maps = [tensor for tensor in call.inputs if tensor.shape[:-1] == call.outputs[0].shape[:-1]]
    return type(call.layer).__name__ in _MERGES and len(maps) > 1


def _is_norm_or_activation(layer: keras.Operation) -> bool:
    return isinstance(layer, NORMS) or type(layer).__name__ in _ACTIVATIONS


def _before_widening(seen: Probe, last: int, makers: dict[int, int], users: dict[int, list[int]]) -> int:
    """The call before a pointwise convolution that widens its map for a depthwise one; `last` if there is none."""
    behind = users[last]
    while len(behind) == 1 and isinstance(seen.calls[behind[0]].layer, _PADDINGS):
        behind = users[behind[0]]
    if not any(isinstance(seen.calls[at].layer, keras.layers.DepthwiseConv2D) for at in behind):
        return last
    at = last
    while _is_norm_or_activation(seen.calls[at].layer) and id(seen.calls[at].inputs[0]) in makers:
        at = makers[id(seen.calls[at].inputs[0])]
    layer = seen.calls[at].layer
    if not isinstance(layer, keras.layers.Conv2D) or layer.kernel_size != (1, 1):
        return last
    (narrow,) = seen.calls[at].inputs
    return makers[id(narrow)] if layer.filters > narrow.shape[-1] and id(narrow) in makers else last
