"""The graft: one task's own network on the shared filter bank."""

import keras

from rc_keras.bank import copy_layer, copy_weights
from rc_keras.layers import BankConv2D, Modulator
from rc_keras.seeds import derive_seed

SEPARATOR = "__"


def graft(bank, task, image=None, seed=0):
    """Makes one task's copy of the pretrained network on the shared filter bank.

    The bank's convolutions are shared, as layer objects; every other layer is copied with its weights under the name
    `<task>__<layer>`. With the methods that keep the function (`rcm`, `rc_ri`, `rc_identity`, `single_task`) the copy
    computes what the pretrained network computes; with the others the modulators start as random rotations.

    Args:
        bank: the `FilterBank`.
        task: name of the task.
        image: the input, a `KerasTensor` `(batch, height, width, channels)`. `None`: a new one of the shape the
            bank's template has.
        seed: the rotations derive from it, the task and the layer's name.

    Returns:
        A functional `keras.Model` named for the task, with the input and output structure of the pretrained network.
    """
    copies = {}

    def clone(layer):
        if isinstance(layer, BankConv2D):
            return layer
        copies[layer.name] = copy_layer(layer, name=f"{task}{SEPARATOR}{layer.name}")
        if getattr(copies[layer.name], "seed", 0) is None:  # Dropout and the like
            config = copies[layer.name].get_config()
            config["seed"] = derive_seed(seed, task, layer.name)
            copies[layer.name] = type(copies[layer.name]).from_config(config)
        return copies[layer.name]

    branch = keras.models.clone_model(bank.template, input_tensors=image, clone_function=clone)
    for name, copy in copies.items():
        if getattr(copy, "weights", None):  # operations, as `x / 255` leaves them in a model, have no such attribute
            copy_weights(bank.template.get_layer(name), copy)
        if isinstance(copy, Modulator) and bank.method.start == "orthogonal":
            rotation = keras.initializers.Orthogonal(seed=derive_seed(seed, task, name))
            copy.set_matrix(rotation(copy.direction.shape))
    return keras.Model(branch.inputs[0], branch.output, name=task)
