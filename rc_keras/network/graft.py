"""The graft: one task's own network on the shared filter bank."""

import keras

from rc_keras.base.seeds import derive_seed
from rc_keras.layers import Adapter, BankConv2D, Frozen
from rc_keras.methods import Method
from rc_keras.network.adapters import is_drawn
from rc_keras.network.bank import FilterBank
from rc_keras.network.copies import SEPARATOR, copy_layer, copy_weights
from rc_keras.network.donor import HEAD
from rc_keras.network.norms import NORMS


def graft(
    bank: FilterBank,
    task: str,
    image: keras.KerasTensor | None = None,
    seed: int = 0,
    head: keras.Layer | None = None,
) -> keras.Model:
    """Makes one task's copy of the pretrained network on the shared filter bank.

    The bank's convolutions, and its frozen layers, are shared, as layer objects; every other layer is copied with its
    weights under the name `<task>__<layer>`. The copy computes what the pretrained network computes; but with `rc` and
    `rc_nff` its modulators start as random rotations.

    With a method that trains a shared encoder, `multi_task` and others, layers of the template itself are shared.

    Args:
        bank: the `FilterBank`.
        task: name of the task.
        image: the input, a `KerasTensor` `(batch, height, width, channels)`. `None`: a new one of the shape the
            bank's template has; with a shared encoder that of the template itself.
        seed: the rotations derive from it, the task and the layer's name.
        head: of a bank with a decoder, the layer that makes the task's prediction; `None`: a copy of the donor's.

    Returns:
        A functional `keras.Model` named for the task, with the input and output structure of the pretrained network.
    """
    copies = {}
    if bank.method.shared_encoder is not None and image is None:
        image = bank.template.inputs[0]
        if bank.method.shared_encoder == "all":
            return keras.Model(image, bank.template.output, name=task)

    def clone(layer: keras.Operation) -> keras.Operation:
        if isinstance(layer, (BankConv2D, Frozen)) or is_trained_by_all(layer, bank.method):
            return layer
        if head is not None and layer.name == HEAD:
            return copy_layer(head)
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
        if is_drawn(copy, bank.method):
            copy.draw(derive_seed(seed, task, name))
    return keras.Model(branch.inputs[0], branch.output, name=task)


def is_trained_by_all(layer: keras.Operation, method: Method) -> bool:
    """Whether a layer of the template is one that all tasks share and train."""
    if method.shared_encoder is None or not getattr(layer, "weights", None):
        return False
    return method.shared_encoder == "all" or not isinstance(layer, (*NORMS, Adapter))
