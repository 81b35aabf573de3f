"""What is measured of one task while it trains: its loss and its metrics."""

from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.tasks.task import Task
from rc_keras.training.named_measures import get_loss, get_metric


class TaskMeasures:
    """Loss, loss weight and metrics of one task, logged as `<task>_loss` and `<task>_<metric>`.

    Args:
        task: the `Task`.
        loss: see `get_loss`; `None`: the task's own.
        weight: a number instead of the task's `loss_weight`.
        metrics: list, see `get_metric`; `None`: the task's own.
        weighted_metrics: list of those that take the sample weights too, logged as `<task>_weighted_<metric>` where
            the name is taken.
    """

    def __init__(
        self,
        task: Task,
        loss: Any = None,
        weight: float | None = None,
        metrics: Iterable[Any] | None = None,
        weighted_metrics: Iterable[Any] | None = None,
    ) -> None:
        self.loss = task.make_loss() if loss is None else get_loss(loss, task)
        self.weight = task.loss_weight if weight is None else float(weight)
        self.weight_variable: keras.Variable | None = None
        self._task = task.name
        self.tracker = keras.metrics.Mean(name=f"{task.name}_loss")
        self._metrics = [get_metric(metric, task) for metric in (task.make_metrics() if metrics is None else metrics)]
        self._weighted: list[keras.metrics.Metric] = []
        taken = {metric.name for metric in self._metrics}
        for metric in weighted_metrics or ():
            plain = get_metric(metric, task)
            self._weighted.append(get_metric(metric, task, "weighted_") if plain.name in taken else plain)

    def make_weight_variable(self) -> keras.Variable:
        """The loss weight as a variable, with the value of `weight`; it holds from now on, and may change."""
        if self.weight_variable is None:
            self.weight_variable = keras.Variable(
                0.0, dtype="float32", trainable=False, name=f"{self._task}_loss_weight"
            )
        self.restore_weight()
        return self.weight_variable

    def restore_weight(self) -> None:
        """Sets the variable, if there is one, back to `weight`."""
        if self.weight_variable is not None:
            self.weight_variable.assign(self.weight)

    def current_weight(self) -> float | Tensor:
        """The loss weight: a number, or the value of its variable."""
        return self.weight if self.weight_variable is None else ops.convert_to_tensor(self.weight_variable)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """All `keras.metrics.Metric`s, the loss first."""
        return [self.tracker, *self._metrics, *self._weighted]

    @property
    def takes_weights(self) -> bool:
        """Whether some metric takes the sample weights."""
        return bool(self._weighted)

    def results(self) -> dict[str, Tensor]:
        """`{log entry: number}`."""
        results: dict[str, Tensor] = {}
        for metric in self.metrics:
            result = metric.result()
            if isinstance(result, dict):
                prefix = f"{self._task}_weighted" if metric in self._weighted else self._task
                results |= {f"{prefix}_{key}": value for key, value in result.items()}
            else:
                results[metric.name] = result
        return results

    def update(self, labels: Tensor, prediction: Tensor, loss: Tensor, weight: Tensor | None = None) -> None:
        """Takes in a batch."""
        self.update_loss(prediction, loss)
        self.update_metrics(labels, prediction, weight)

    def update_loss(self, prediction: Tensor, loss: Tensor) -> None:
        """Takes in the loss of a batch."""
        self.tracker.update_state(loss, sample_weight=ops.shape(prediction)[0])

    def update_metrics(self, labels: Tensor, prediction: Tensor, weight: Tensor | None = None) -> None:
        """Takes a batch into the metrics, with its weights into those that take them."""
        for metric in self._metrics:
            metric.update_state(labels, prediction)
        for metric in self._weighted:
            metric.update_state(labels, prediction, sample_weight=weight)
