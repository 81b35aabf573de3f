"""Weights of classes, by task, as `fit(class_weight=…)` takes them."""

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.losses.pixels import label_map, weight_map
from rc_keras.tasks.task import Task


def checked_class_weights(class_weight: Any, task: Callable[[str], Task]) -> dict[str, tuple[float, ...]]:
    """The weights of all classes by task, `{task: weights}`, 1 where nothing is said.

    Args:
        class_weight: `{task: {class id: weight}}`, or `None`.
        task: function from a name to the `Task`; raises for one that is not known.

    Raises:
        ValueError: if it is something else, a task has no classes, or a class or weight is wrong.
    """
    if class_weight is None:
        return {}
    nested = isinstance(class_weight, Mapping) and all(isinstance(w, Mapping) for w in class_weight.values())
    if not nested:
        raise ValueError(
            "`class_weight` must be a dict {task: {class id: weight}}, like {'semseg': {0: 0.5, 1: 2.0}}. "
            f"Received: class_weight={class_weight!r}"
        )
    return {name: _of_classes(weights, task(name)) for name, weights in class_weight.items()}


def weights_of_pixels(
    class_weights: tuple[float, ...], labels: Tensor, prediction: Tensor, own: Tensor | None
) -> Tensor:
    """Weights of the pixels of a batch by their classes, times `own`, the weights they have already."""
    classes = label_map(ops.convert_to_tensor(labels, dtype="float32"), prediction)
    ids = ops.cast(ops.clip(ops.round(classes), 0, len(class_weights) - 1), "int32")
    weights = ops.take(ops.convert_to_tensor(class_weights, dtype="float32"), ids)
    return weights if own is None else weights * weight_map(own, len(weights.shape))


def _of_classes(weights: Mapping[Any, Any], task: Task) -> tuple[float, ...]:
    kind = task.definition
    if not (kind.of_classes or kind.binary):
        raise ValueError(
            "`class_weight` must be for tasks with classes; others take `sample_weight={task: weights}`. "
            f"Received: task {task.name!r} of kind {task.kind}"
        )
    table = [1.0] * (task.channels if kind.of_classes else 2)
    for number, weight in weights.items():
        try:
            index, value = operator.index(number), float(weight)
        except (TypeError, ValueError):
            index, value = -1, math.nan
        if not 0 <= index < len(table) or not math.isfinite(value) or value < 0:
            raise ValueError(
                f"`class_weight` must have class ids in 0 … {len(table) - 1} as keys, and finite numbers of at least 0 "
                f"as values. Received: {number!r}: {weight!r} for task {task.name!r}"
            )
        table[index] = value
    return tuple(table)
