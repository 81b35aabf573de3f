"""Residual blocks, found in any functional network."""

from typing import Any

import keras

from rc_keras.layers import SqueezeExcite


def with_squeeze_excite(network: keras.Model) -> keras.Model:
    """Puts a `SqueezeExcite` on the output of each residual block, before the addition.

    A residual block ends in a `keras.layers.Add`; of what it adds, the block's own output is what came through the most
    layers, and the rest are shortcuts.

    Args:
        network: a functional `keras.Model` with one input.

    Returns:
        A functional `keras.Model` of the same layers and name; the new ones are called `<addition>_squeeze_excite`.

    Raises:
        ValueError: if there is no residual block.
    """
    depths: dict[int, int] = {}  # of tensors, by id
    gates: dict[str, SqueezeExcite] = {}  # by the addition's name

    def depth(tensors: Any) -> int:
        return max((depths.get(id(t), 0) for t in keras.tree.flatten(tensors)), default=0)

    def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, keras.layers.Add):
            addends = list(args[0])
            longest = max(range(len(addends)), key=lambda index: depth(addends[index]))
            if layer.name not in gates:
                gates[layer.name] = SqueezeExcite(
                    squeeze_initializer=keras.initializers.HeNormal(seed=0),  # each task draws its own
                    dtype=layer.dtype_policy,
                    name=f"{layer.name}_squeeze_excite",
                )
            addends[longest] = gates[layer.name](addends[longest])
            args = (addends, *args[1:])
        outputs = layer(*args, **kwargs)
        for tensor in keras.tree.flatten(outputs):
            depths[id(tensor)] = 1 + depth((args, kwargs))
            kept.append(tensor)  # an id is only good while its tensor lives
        return outputs

    kept: list[keras.KerasTensor] = []
    gated = keras.models.clone_model(network, clone_function=lambda layer: layer, call_function=call)
    if not gates:
        raise ValueError(
            "`backbone` must hold residual blocks, which end in a keras.layers.Add, for squeeze and excitation. "
            f"Received: {network.name!r} without any"
        )
    return keras.Model(gated.inputs[0], gated.output, name=network.name)
