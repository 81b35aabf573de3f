"""Which tasks a step computes together, and which variables it differentiates together."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from rc_keras.base.keras_types import Tensor
from rc_keras.network.common_part import call_rest
from rc_keras.network.multi_task_network import MultiTaskNetwork
from rc_keras.training.given_optimizers import JOINT


@dataclasses.dataclass(frozen=True)
class Part:
    """One pass forward and, where it trains, one backward.

    Attributes:
        network: the network that trains.
        tasks: names of the tasks whose losses are summed.
        branch: the model of these tasks, without what all branches compute alike; it answers a prediction, or
            `{task: prediction}`.
    """

    network: MultiTaskNetwork
    tasks: Sequence[str]
    branch: keras.Model

    def predictions(self, features: Any, training: bool) -> dict[str, Tensor]:
        """`{task: raw prediction}` from `MultiTaskNetwork.common_features`."""
        raw = call_rest(self.branch, features, training)
        return raw if isinstance(raw, dict) else {self.tasks[0]: raw}

    @property
    def groups(self) -> dict[str, list[keras.Variable]]:
        """What is differentiated, `{state of the optimizer: variables}`; the loss has the scale of the first one."""
        joint = self.network.jointly_trained
        shared = {id(v) for v in joint}
        groups = {JOINT: joint} if joint else {}
        for name in self.tasks:
            groups[name] = [v for v in self.network.branch(name).trainable_variables if id(v) not in shared]
        return groups


def plan(network: MultiTaskNetwork, names: Sequence[str]) -> list[Part]:
    """The parts of a step, one after another: all tasks at once where they sum their gradients, else each by itself."""
    if names and network.jointly_trained:
        return [Part(network, names, network.joint_branch(names))]
    return [Part(network, [name], network.own_part(name)) for name in names]
