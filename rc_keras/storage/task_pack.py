"""Task packs: one task in one file."""

import json
import os
from typing import Any

import keras

from rc_keras import decoders
from rc_keras.files import safetensors_file
from rc_keras.files.named_weights import assign_named, named_arrays, named_variables
from rc_keras.files.plain_config import check_holds_no_code
from rc_keras.layers import BankConv2D, Frozen
from rc_keras.network.branch import make_branch
from rc_keras.network.copies import SEPARATOR
from rc_keras.network.multi_task_network import MultiTaskNetwork
from rc_keras.tasks.task import Task

PACK_FORMAT = "rc_keras.task.1"
SUFFIX = ".rctask"


def save(model: MultiTaskNetwork, name: str, path: str | os.PathLike) -> None:
    """Writes one task of a `MultiTaskModel`: what it owns, its `Task` and decoder, and the fingerprint of its bank.

    The file is in the safetensors format, with `<layer>/<variable>` as names.

    Raises:
        ValueError: if the path does not end in `.rctask`, or the method lets tasks share an encoder that they train.
        OSError: if the file cannot be written; what stood there before stays.
    """
    safetensors_file.write(path, SUFFIX, to_bytes(model, name))


def to_bytes(model: MultiTaskNetwork, name: str, dtype: str | None = None) -> bytes:
    """The content of the file that `save` writes; of a preset in another precision, whose bank is then another one."""
    check_separable(model)
    serialize = keras.saving.serialize_keras_object
    metadata = {
        "fingerprint": model.bank.saved_fingerprint(dtype),
        "method": model.bank.method.name,
        "task": json.dumps(serialize(model.task(name))),
        "decoder": json.dumps(serialize(model.decoder(name))),
    }
    tensors = named_arrays(_own_layers(model.branch(name)), strip=name + SEPARATOR)
    return safetensors_file.to_bytes(PACK_FORMAT, tensors, metadata, dtype)


def load(model: MultiTaskNetwork, path: str | os.PathLike, overwrite: bool = False) -> tuple[Task, Any, keras.Model]:
    """Reads a pack for a `MultiTaskModel`, see `MultiTaskModel.load_task`.

    Returns:
        `(task, decoder, branch)`: a branch on the model's bank, with the weights of the pack.
    """
    check_separable(model)
    tensors, metadata = safetensors_file.read(path, SUFFIX, PACK_FORMAT)
    path = os.fspath(path)
    for what, own in (("fingerprint", model.bank.fingerprint), ("method", model.bank.method.name)):
        if metadata[what] != own:
            raise ValueError(
                f"{path} must belong to a bank with {what} {own!r}, which the model has. Received: {metadata[what]!r}"
            )
    task, decoder = (_deserialize(metadata[key], path) for key in ("task", "decoder"))
    if not isinstance(task, Task):
        raise ValueError(f"{path} must hold a Task. Received: {type(task).__name__}")
    decoder = decoders.get(decoder)
    if task.name in model.tasks and not overwrite:
        raise ValueError(f"{path} must hold a new task, or be loaded with overwrite=True. Received: {task.name!r}")
    branch = make_branch(model.bank, task, decoder, model.seed, model.dtype_policy, is_new=False)
    assign_named(named_variables(_own_layers(branch), strip=task.name + SEPARATOR), tensors, path)
    return task, decoder, branch


def check_separable(model: MultiTaskNetwork) -> None:
    method = model.bank.method
    if method.shared_encoder is not None:
        raise ValueError(
            "A task pack holds a task of a method with a frozen bank, or of 'single_task'. Received: a model of method "
            f"{method.name!r}, whose tasks train an encoder in common, so that none can be taken out of it alone. Save "
            "the whole model instead"
        )


def _deserialize(text: str, path: str) -> Any:
    """An object of Keras or a registered class; anything else a file may name is refused, and nothing is imported."""
    try:
        config = json.loads(text)
        check_holds_no_code(config, path)
        return keras.saving.deserialize_keras_object(config, safe_mode=True)
    except (RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{path} must hold a serialized task and decoder. It cannot be read: {error}") from error


def _own_layers(branch: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in branch.layers if not isinstance(layer, (BankConv2D, Frozen))]
