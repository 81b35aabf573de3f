"""A branch: one task's functional model, from pixels to raw prediction, and the roles of its weights."""

from collections.abc import Iterable

import keras
import numpy as np

from rc_keras.base.global_settings import global_settings
from rc_keras.decoders import Decoder, PooledHead
from rc_keras.decoders.decoder import decode
from rc_keras.layers import Adapter, Frozen
from rc_keras.network.bank import FilterBank
from rc_keras.network.common_part import Split, is_alike
from rc_keras.network.copies import SEPARATOR
from rc_keras.network.donor import PREDICTION, PREFIX
from rc_keras.network.graft import graft
from rc_keras.network.norms import NORMS
from rc_keras.tasks.task import Task

ROLES = ("shared", "modulators", "gains", "convolutions", "norms", "decoder", "head")


def make_branch(
    bank: FilterBank,
    task: Task,
    decoder: Decoder,
    seed: int,
    dtype_policy: keras.DTypePolicy,
    is_new: bool = True,
) -> keras.Model:
    """Builds one task's functional model on the shared bank.

    Args:
        bank: the `FilterBank`; its template answers `{"low_level": map, "high_level": map}`, and the prediction if it
            holds a decoder.
        task: the `Task`.
        decoder: the `decoders.Decoder`, that of the bank if it holds one. Tasks that are not dense get a `PooledHead`
            instead.
        seed: base of what is random in the branch.
        dtype_policy: the `keras.DTypePolicy` of the decoder, whatever the global one is by now.
        is_new: whether the decoder must be as `decoders.Decoder` says; one that a file was saved with may be older.

    Returns:
        A functional `keras.Model` named for the task, `(batch, height, width, channels)` images in 0..255 to the raw
        prediction in float32: `(batch, height, width, task.channels)`, or `(batch, task.channels)` if it is not dense.
    """
    prefix = f"{task.name}{SEPARATOR}{PREFIX}"
    kind = task.definition
    donor = bank.donor if kind.dense else None
    with global_settings(dtype_policy):
        head = None if donor is None else donor.head(bank.template, task, prefix, seed)
        encoder = graft(bank, task.name, seed=seed, head=head)
        if donor is not None:
            raw = encoder.output[PREDICTION]
        else:
            made = decoder if kind.dense else PooledHead()
            raw = decode(made, encoder, task.channels, prefix, seed, pooled=not kind.dense, check=is_new)
    output = kind.make_output_layer(f"{task.name}{SEPARATOR}output")
    return keras.Model(encoder.inputs[0], output(raw), name=task.name)


def own_part(bank: FilterBank, branch: keras.Model, task: Task) -> keras.Model:
    """A branch without what all branches on the bank compute alike, on the same layers.

    Returns:
        A functional `keras.Model` from `{name: tensor}` of `bank.common_part` and the image to the output of the
        branch; the branch itself where there is no such part.
    """
    if bank.split is None:
        return branch
    dense = task.definition.dense  # else it has a decoder of its own instead of the bank's
    calls = {call: names for call, names in bank.split.calls.items() if dense or not call.startswith(PREFIX)}
    return Split(branch, is_alike, branch.name + SEPARATOR, calls=calls).rest


def template_layers(bank: FilterBank, task: Task) -> frozenset[str]:
    """Names of the bank's layers and operations that a task has: all, or those of the encoder if it is not dense."""
    dense = task.definition.dense
    return frozenset(each.name for each in bank.template.operations if dense or not each.name.startswith(PREFIX))


def frozen_layers(branch: keras.Model) -> list[str]:
    """Names of the layers of a branch, or of a bank's template, that a user froze with `layer.trainable = False`."""
    layers = [layer for layer in branch.layers if not isinstance(layer, Frozen)]
    return [layer.name for layer in layers if layer.weights and not layer.trainable]


def weights_by_role(branch: keras.Model) -> dict[str, list[keras.Variable]]:
    """Partitions the weights of a branch: `{role: [keras.Variable]}` with the keys of `ROLES`.

    Shared are the layers without the task's prefix: those of the bank, or of an encoder that all tasks train. All
    adapters count as modulators. Moving statistics stand beside scale and offset; they are told from them by
    `variable.trainable`.
    """
    own = f"{branch.name}{SEPARATOR}"
    prefix = f"{own}{PREFIX}"
    roles: dict[str, list[keras.Variable]] = {role: [] for role in ROLES}
    for layer in branch.layers:
        if not layer.name.startswith(own):
            roles["shared"] += layer.weights
        elif layer.name == f"{prefix}head":
            roles["head"] += layer.weights
        elif layer.name.startswith(prefix):
            roles["decoder"] += layer.weights
        elif isinstance(layer, Adapter):
            gains = {id(gain) for gain in layer.gains}
            for weight in layer.weights:
                roles["gains" if id(weight) in gains else "modulators"].append(weight)
        elif isinstance(layer, NORMS):
            roles["norms"] += layer.weights
        else:
            roles["convolutions"] += layer.weights
    return roles


def count_parameters(weights: Iterable[keras.Variable]) -> int:
    """Number of parameters; moving statistics, which no optimizer sets, are not counted."""
    return sum(int(np.prod(w.shape)) for w in weights if not w.name.startswith("moving_"))
