"""A task that starts from another one: from its adapters, norms and decoder, with a head of its own."""

from collections.abc import Callable
from typing import Any

import keras

from rc_keras import decoders
from rc_keras.base.names import unknown_name
from rc_keras.network.branch import make_branch
from rc_keras.network.copies import SEPARATOR, copy_weights
from rc_keras.network.multi_task_network import MultiTaskNetwork
from rc_keras.tasks.task import Task

HEAD = "decoder_head"


def make_warm_branch(
    network: MultiTaskNetwork, task: Task, source: str, decoder: Any = None
) -> tuple[Callable[..., keras.KerasTensor], keras.Model]:
    """Builds the branch of a new task with all weights of another task's branch but the head's.

    Where only some of the weights have a counterpart it refuses: fresh layers behind trained ones would be no start,
    and nothing would tell.

    Args:
        network: the network; it is not changed.
        task: the new `Task`.
        source: name of a task of the network.
        decoder: see `rc_keras.decoders.get`; `None`: as `source` has.

    Returns:
        `(decoder, branch)`, of which the head is as fresh as without a start.

    Raises:
        ValueError: if the method shares an encoder that trains, the source is unknown, one task is dense and the other
            is not, or the decoders have other layers or shapes.
    """
    check_has_starts(network)
    if source not in network.tasks:
        raise unknown_name("init_from", source, [*network.tasks, "nearest"])
    first = network.branch(source)
    if task.definition.dense != network.task(source).definition.dense:
        kinds = [f"{t.name!r} is of kind {t.kind}" for t in (network.task(source), task)]
        raise ValueError(
            "`init_from` must be a task that is decoded as the new one is: both dense, or both of whole images. "
            f"Received: init_from={source!r}; {', '.join(kinds)}"
        )
    made = decoders.get(network.decoder(source) if decoder is None else decoder)
    branch = make_branch(network.bank, task, made, network.seed, network.dtype_policy)
    problems = differences(branch, first)
    if problems:
        raise ValueError(
            f"`init_from` must be a task whose decoder has the layers of the new one's. Received: init_from={source!r} "
            f"with {network.decoder(source)!r} for {made!r}:\n  " + "\n  ".join(problems)
        )
    copy_start(first, branch)
    return made, branch


def copy_start(source: keras.Model, branch: keras.Model) -> None:
    """Copies what a task owns into the branch of another task, but for the head."""
    starts = own_layers(source)
    for name, layer in own_layers(branch).items():
        if name != HEAD:
            copy_weights(starts[name], layer)


def check_has_starts(network: MultiTaskNetwork) -> None:
    """Raises a `ValueError` if tasks share an encoder that they train, in which they all start where it is by now."""
    method = network.bank.method
    if method.shared_encoder is not None:
        raise ValueError(
            "`init_from` must be None unless the method has a frozen bank, or is 'single_task'. Received: a model of "
            f"method {method.name!r}, whose tasks train an encoder in common"
        )


def own_layers(branch: keras.Model) -> dict[str, keras.Layer]:
    """The layers with weights that a task owns, `{name without the task: layer}`."""
    prefix = branch.name + SEPARATOR
    return {
        layer.name.removeprefix(prefix): layer
        for layer in branch.layers
        if layer.name.startswith(prefix) and layer.weights
    }


def differences(branch: keras.Model, source: keras.Model) -> list[str]:
    """Why a branch cannot start from another one, a line for each weight without a counterpart."""
    ours, theirs = (
        {
            f"{name}/{weight.name}": tuple(weight.shape)
            for name, layer in own_layers(model).items()
            for weight in layer.weights
            if name != HEAD
        }
        for model in (branch, source)
    )
    lines = [f"missing: {name}" for name in sorted(ours.keys() - theirs.keys())]
    lines += [f"superfluous: {name}" for name in sorted(theirs.keys() - ours.keys())]
    return lines + [
        f"misshapen: {name} must be {ours[name]}, is {theirs[name]}"
        for name in sorted(ours.keys() & theirs.keys())
        if ours[name] != theirs[name]
    ]
