"""Checks of what `compile` is given for the tasks."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from rc_keras.tasks.task import Task
from rc_keras.training import named_measures
from rc_keras.training.given_optimizers import JOINT, is_by_task


def check_arguments(optimizer: Any, overrides: Mapping[str, Any], task: Callable[[str], Task]) -> None:
    """Raises a `ValueError` if `compile` cannot take its arguments.

    Args:
        optimizer: as of `compile`.
        overrides: `loss`, `metrics`, `weighted_metrics` and `loss_weights`, as of `compile`.
        task: function from a name to the `Task`; raises for one that is not known.
    """
    if is_by_task(optimizer):
        if not optimizer:
            raise ValueError(
                "`optimizer` must be one for all tasks, its name, or a dict with task names as keys. Received: {}"
            )
        for name in optimizer:
            if name != JOINT:
                task(name)
    for argument, mapping in overrides.items():
        if mapping is not None and not isinstance(mapping, dict):
            raise ValueError(f"`{argument}` must be a dict with task names as keys. Received: {mapping!r}")
        for name in mapping or ():
            task(name)
    for name, chosen in (overrides["loss"] or {}).items():
        named_measures.get_loss(chosen, task(name))
    used: set[int] = set()
    for argument in ("metrics", "weighted_metrics"):
        _check_metrics(argument, overrides.get(argument) or {}, task, used)


def _check_metrics(argument: str, metrics: dict[str, Any], task: Callable[[str], Task], used: set[int]) -> None:
    for name, chosen in metrics.items():
        if not isinstance(chosen, (list, tuple)):
            raise ValueError(f"`{argument}` must have lists as values. Received: {chosen!r} for task {name!r}")
        for metric in chosen:
            named_measures.get_metric(metric, task(name))
            if isinstance(metric, keras.metrics.Metric) and not named_measures.is_made_anew(metric):
                if id(metric) in used:
                    raise ValueError(
                        f"`{argument}` must have one of its own for each task, else these count in the same "
                        f"variables. Received twice: {metric.name!r}"
                    )
                used.add(id(metric))
