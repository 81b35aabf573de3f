"""All folded tasks as one network, in which what they have in common is computed once."""

import keras

from rc_keras.export.folding.folded_network import FoldedNetwork
from rc_keras.network.common_part import IMAGE, Split, call_rest, is_alike
from rc_keras.network.copies import SEPARATOR


def joint_model(network: FoldedNetwork) -> keras.Model:
    """The tasks of a folded network as one functional `keras.Model`, on the same layers.

    Returns:
        From an image to `{task: answer}`.
    """
    splits = {
        name: Split(
            model,
            lambda layer: layer.name in network.bank or is_alike(layer),
            prefix=name + SEPARATOR,
            names=network.template[name],
        )
        for name, model in network.models.items()
    }
    largest = max(splits.values(), key=lambda split: len(split.common))  # a classifier's lacks what decoders share
    needed = {name for split in splits.values() for name in split.inputs}
    image = keras.Input(largest.common[IMAGE].shape[1:], name=IMAGE)
    features = {IMAGE: image}
    if needed - {IMAGE}:
        features |= largest.common_model(sorted(needed))(image)
    return keras.Model(image, {name: call_rest(split.rest, features, False) for name, split in splits.items()})
