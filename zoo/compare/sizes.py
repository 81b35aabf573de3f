"""How large the model of a cell is."""

from collections.abc import Iterable
from typing import Any

import rc_keras
from rc_keras.zoo.recipes import Recipe
from rc_keras.zoo.recipes.network import build_network


def measure_size(recipe: Recipe, tasks: Iterable[rc_keras.Task]) -> dict[str, Any]:
    """What the model of a recipe costs for some `Task`s, without training one; see `size_of`."""
    return size_of(build_network(recipe, tasks))


def size_of(model: rc_keras.MultiTaskModel) -> dict[str, Any]:
    """What a model costs; the one place to add to, which ends in `compare.json`.

    Args:
        model: the `MultiTaskModel`.

    Returns:
        `{"parameters": …, "shared": …, "tasks": {task: …}, "macs": …}`: parameters, moving statistics not counted, and
        multiply-accumulates for all tasks on one image, unfolded.
    """
    report = model.parameter_report()
    counts = {name: task.total for name, task in report.tasks.items()}
    shared = report.total - sum(counts.values())
    return {"parameters": report.total, "shared": shared, "tasks": counts, "macs": model.mac_report().total}
