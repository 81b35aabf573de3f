"""What is used of Keras that has no public name, each with what it is for."""

from collections.abc import Callable
from typing import Any

import keras


def learning_rate(optimizer: keras.optimizers.Optimizer) -> Any:
    """The variable, schedule or function behind `optimizer.learning_rate`, which answers the present value only."""
    return optimizer._learning_rate


def optimizer_choice(optimizer: keras.optimizers.MultiOptimizer) -> Callable[[keras.Variable], Any]:
    """The map or function from a variable to its optimizer that a `MultiOptimizer` was made with."""
    return optimizer._optimizer_map


def copy_weight_decay_exclusions(source: keras.optimizers.Optimizer, target: keras.optimizers.Optimizer) -> None:
    """Carries over what `exclude_from_weight_decay` was called with, which no configuration holds."""
    for name in ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern"):
        if hasattr(source, name):
            setattr(target, name, getattr(source, name))


def leave_gradients_to_us(optimizer: keras.optimizers.Optimizer) -> None:
    """Keeps Keras on TensorFlow from summing gradients over replicas, which it does after clipping and loss scaling."""
    optimizer._all_reduce_sum_gradients = list
