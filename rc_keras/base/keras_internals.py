"""What is used of Keras that has no public name, each with what it is for; nothing else in the package uses any.

Keras may change these from one version to the next, so setup.py bounds its version. A test fails where one is gone.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras

# Keras's `fit` calls `evaluate` with this argument once it holds the validation data itself.
FROM_FIT = "_use_cached_eval_dataset"


class HookedModel(keras.Model):
    """A `keras.Model` with hooks that Keras has for itself."""

    def before_first_step(self) -> None:
        """Called where Keras would build model, losses and metrics on a first batch."""

    def _symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        self.before_first_step()

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Keras 3.15's own fails with several workers (keras#20585)."""
        self.before_first_step()

    def _get_metrics_result_or_logs(self, logs: Any) -> Any:
        """The logs of an epoch are those of its last step, and not those of all metrics of the model."""
        return logs

    @property
    def loss_tracker(self) -> keras.metrics.Mean:
        """The mean that Keras logs as `loss`."""
        return self._loss_tracker

    def list_layers(self, layers: Sequence[keras.Layer]) -> None:
        """Replaces the layers whose variables Keras finds."""
        self._layers[:] = layers


def producer(tensor: keras.KerasTensor) -> keras.Operation:
    """The layer or operation of a functional model that makes a tensor."""
    return tensor._keras_history.operation


def inner_layers(layer: keras.Layer) -> list[keras.Layer]:
    """All layers inside of a layer or model, at any depth."""
    return list(layer._flatten_layers(include_self=False))


def slot_index(optimizer: keras.optimizers.Optimizer, variable: keras.Variable) -> int:
    """The place of a variable in an optimizer's lists of slots."""
    return optimizer._get_variable_index(variable)


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
