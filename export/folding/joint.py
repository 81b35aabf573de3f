"""All folded tasks as one network, in which what they have in common is computed once."""

from collections.abc import Mapping, Sequence

import keras

from rc_keras.export.folding.folded_network import FoldedNetwork
from rc_keras.network.common_part import IMAGE, Split, call_rest, is_alike
from rc_keras.network.copies import SEPARATOR


def joint_model(network: FoldedNetwork) -> keras.Model:
    """The tasks of a folded network as one functional `keras.Model`, on the same layers.

    Returns:
        From an image to `{task: answer}`.
    """

    def split(name: str, calls: Mapping[str, Sequence[str]] | None = None) -> Split:
        return Split(
            network.models[name],
            lambda layer: layer.name in network.bank or is_alike(layer),
            prefix=name + SEPARATOR,
            names=network.template[name],
            calls=calls,
        )

    # A classifier's lacks what decoders share.
    largest = max(map(split, network.models), key=lambda each: len(each.common))
    splits = {name: split(name, largest.calls) for name in network.models}
    needed = {name for each in splits.values() for name in each.inputs}
    image = keras.Input(largest.common[IMAGE].shape[1:], name=IMAGE)
    features = {IMAGE: image}
    if needed - {IMAGE}:
        features |= largest.common_model(sorted(needed))(image)
    return keras.Model(image, {name: call_rest(each.rest, features, False) for name, each in splits.items()})
