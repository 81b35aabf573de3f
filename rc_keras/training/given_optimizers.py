"""The optimizers that `compile` was given: one for all tasks, or one for each."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

import keras

from rc_keras.base import keras_internals
from rc_keras.training.optimizer_copies import copier, leaves

JOINT = "all"  # no task may be named so: the state of what all tasks train jointly, and the optimizer of all others


def is_by_task(optimizer: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether an `optimizer` of `compile` is `{task: optimizer}`, and not one, a name, or Keras's configuration."""
    return isinstance(optimizer, Mapping) and "class_name" not in optimizer


class GivenOptimizers:
    """Optimizers by task. None is ever stepped itself: tasks step copies, which read the learning rate of theirs.

    Args:
        by_task: `{task: keras.optimizers.Optimizer}`; that of `JOINT` is for what all tasks train jointly, and for the
            tasks that are not named.
    """

    def __init__(self, by_task: Mapping[str, keras.optimizers.Optimizer]) -> None:
        self.by_task = dict(by_task)
        self._copiers = {key: copier(optimizer) for key, optimizer in self.by_task.items()}
        self.schedules = self.find_schedules()
        self.rates = self._find_rates()  # the learning rates that are numbers, by the names they are saved under

    @property
    def single(self) -> bool:
        """Whether there is one optimizer for all."""
        return list(self.by_task) == [JOINT]

    def key_of(self, task: str) -> str:
        """The key of a task's optimizer.

        Raises:
            ValueError: if it has none.
        """
        if task not in self.by_task and JOINT not in self.by_task:
            whom = "what the tasks train jointly" if task == JOINT else f"task {task!r}"
            entry = f"{JOINT!r}" if task == JOINT else f"{task!r}, or {JOINT!r} for tasks without one of their own"
            raise ValueError(
                f"`optimizer` must have an entry for {whom}: {entry}. Received: entries {list(self.by_task)}. Compile "
                "again, with the optimizers there are; their states stay."
            )
        return task if task in self.by_task else JOINT

    def copy(self, task: str) -> keras.optimizers.Optimizer:
        """A fresh copy of a task's optimizer."""
        return self._copiers[self.key_of(task)]()

    def find_schedules(self) -> list[Any]:
        """What stands behind the learning rate of each optimizer: a variable, a schedule or a function."""
        optimizers = self.by_task.values()
        return [keras_internals.learning_rate(leaf) for optimizer in optimizers for leaf in leaves(optimizer)]

    def _find_rates(self) -> dict[str, keras.Variable]:
        rates: dict[str, keras.Variable] = {}
        for key, optimizer in self.by_task.items():
            prefix = ":" if self.single else f":{key}:"
            behind = [keras_internals.learning_rate(leaf) for leaf in leaves(optimizer)]
            numbers = [rate for rate in behind if isinstance(rate, keras.Variable)]
            rates |= {f"{prefix}learning_rate{f'_{i}' if i else ''}": rate for i, rate in enumerate(numbers)}
        return rates

    def with_rates_of(self, tasks: Iterable[str]) -> list["RateOfTasks"]:
        """The optimizers of tasks for callbacks, each once; with no task all of them."""
        named: dict[int, tuple[keras.optimizers.Optimizer, list[str]]] = {}
        for task in list(tasks) or list(self.by_task):
            optimizer = self.by_task[self.key_of(task)]
            for leaf in leaves(optimizer):
                name = f"{task}_{leaf.name}" if len(leaves(optimizer)) > 1 else task
                named.setdefault(id(leaf), (leaf, []))[1].append(name)
        return [RateOfTasks("_".join(names), leaf) for leaf, names in named.values()]

    def kept_from(self, other: "GivenOptimizers") -> dict[str, keras.optimizers.Optimizer]:
        """The optimizers by task, with those of `other` where they are the same under a loss scale."""
        return {
            key: before if (before := other.by_task.get(key)) is not None and _holds(before, optimizer) else optimizer
            for key, optimizer in self.by_task.items()
        }


class RateOfTasks:
    """What Keras's callbacks ask of an optimizer: a name, here that of its tasks, and a learning rate to set."""

    def __init__(self, name: str, optimizer: keras.optimizers.Optimizer) -> None:
        self.name = name
        self._optimizer = optimizer

    @property
    def learning_rate(self) -> Any:
        return self._optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._optimizer.learning_rate = value


def _holds(before: keras.optimizers.Optimizer, optimizer: Any) -> bool:
    return optimizer in (before, getattr(before, "inner_optimizer", before))
