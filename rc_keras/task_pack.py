"""Task packs: one task in one file."""

import json
import os

import keras
import numpy as np
import safetensors
import safetensors.numpy

from rc_keras.branch import make_branch
from rc_keras.graft import SEPARATOR
from rc_keras.layers import BankConv2D
from rc_keras.named_weights import assign_named, named_variables
from rc_keras.version import __version__
from rc_keras.whole_files import write_whole

PACK_FORMAT = "rc_keras.task.1"
SUFFIX = ".rctask"


def save(model, name, path):
    """Writes one task of a `MultiTaskModel`: what it owns, its `Task` and decoder, and the fingerprint of its bank.

    The file is in the safetensors format, with `<layer>/<variable>` as names.

    Raises:
        ValueError: if the path does not end in `.rctask`.
        OSError: if the file cannot be written; what stood there before stays.
    """
    _check_suffix(path)
    serialize = keras.saving.serialize_keras_object
    metadata = {
        "format": PACK_FORMAT,
        "rc_keras": __version__,
        "fingerprint": model.bank.fingerprint,
        "method": model.bank.method.name,
        "task": json.dumps(serialize(model.task(name))),
        "decoder": json.dumps(serialize(model._held.decoders[name])),
    }
    tensors = {
        key: np.ascontiguousarray(keras.ops.convert_to_numpy(variable))
        for key, variable in _own_variables(model.branch(name)).items()
    }
    write_whole(path, safetensors.numpy.save(tensors, metadata))


def load(model, path, overwrite=False):
    """Reads a pack for a `MultiTaskModel`, see `MultiTaskModel.load_task`.

    Returns:
        `(task, decoder, branch)`: a branch on the model's bank, with the weights of the pack.
    """
    _check_suffix(path)
    path = os.fspath(path)
    try:
        with safetensors.safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} must be a task pack (safetensors). It cannot be read: {error}") from error
    if metadata.get("format") != PACK_FORMAT:
        raise ValueError(f"{path} must be a task pack of format {PACK_FORMAT!r}. Received: {metadata.get('format')!r}.")
    for what, own in (("fingerprint", model.bank.fingerprint), ("method", model.bank.method.name)):
        if metadata[what] != own:
            raise ValueError(
                f"{path} must belong to a bank with {what} {own!r}, which the model has. Received: {metadata[what]!r}."
            )
    task = keras.saving.deserialize_keras_object(json.loads(metadata["task"]))
    decoder = keras.saving.deserialize_keras_object(json.loads(metadata["decoder"]))
    if task.name in model.tasks and not overwrite:
        raise ValueError(f"{path} holds task {task.name!r}, which the model already has. Pass overwrite=True to replace it.")
    branch = make_branch(model.bank, task, decoder, model.seed)
    assign_named(_own_variables(branch), tensors, path)
    return task, decoder, branch


def _own_variables(branch):
    layers = [layer for layer in branch.layers if not isinstance(layer, BankConv2D)]
    return named_variables(layers, strip=branch.name + SEPARATOR)


def _check_suffix(path):
    if not os.fspath(path).endswith(SUFFIX):
        raise ValueError(f"A task pack's path must end in {SUFFIX!r}. Received: path={os.fspath(path)!r}")
