"""Loss weights that follow how hard the tasks are."""

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import keras

from rc_keras.training.measured_network import MeasuredNetwork

KPI: TypeAlias = str | Callable[[Mapping[str, Any]], float]

CLIP = 1e-6  # the least distance of a KPI from 0 and 1


class DynamicTaskPrioritization(keras.callbacks.Callback):
    """Weights each task by how far its performance is from perfect (Guo et al., ECCV 2018).

    With a key performance indicator k_t in 0..1 (accuracy, IoU, F) and its moving average, the weight of task t is the
    focal loss of the average::

        k̄_t ← α k_t + (1 − α) k̄_t        w_t = −(1 − k̄_t)^γ_t log k̄_t

    so that hard tasks come first. The first KPI starts the average, and k̄_t is kept within 1e-6 of 0 and 1. w_t
    multiplies the task's own loss weight, which goes on bringing the losses to one scale, and which is what holds until
    the first KPI is known. Only tasks that are trained jointly compete for what they share; with a frozen bank the
    weights scale each task's own gradients.

    Of the paper, the example-level part is left out: the losses L_t are the tasks' own and not focal losses over
    examples; so is its ordering of tasks along the depth of the network.

    Example:

    >>> kpis = {"semseg": "semseg_mean_iou", "normals": lambda logs: 1 - logs["normals_mean_angle"] / 180}
    >>> model.fit(dataset, callbacks=[rc_keras.DynamicTaskPrioritization(kpis)])

    Each epoch's logs get `<task>_priority`, w_t; a `History` or logger that should see it comes later in the list.

    Args:
        kpis: `{task: entry of the logs}` or `{task: function from the logs to a number in 0..1}`. Tasks that are not
            in it keep their loss weight.
        gamma: γ_t, a number or `{task: number}`, at least 0: how strongly easy tasks are put back.
        alpha: α, in 0..1, without 0.
        update_every: steps between updates, in units of `steps_per_execution`, with the logs of the epoch so far;
            `None`: at the end of each epoch, where entries of validation (`val_…`) are known too. After an epoch
            without validation (`validation_freq`) their tasks keep their weights.

    Raises:
        ValueError: if an argument is out of range, a task unknown, or a KPI missing in the logs or outside 0..1.
    """

    def __init__(
        self,
        kpis: dict[str, KPI],
        gamma: float | dict[str, float] = 1.0,
        alpha: float = 0.1,
        update_every: int | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(kpis, dict) or not kpis:
            raise ValueError(f"`kpis` must be a dict with at least one task. Received: kpis={kpis!r}")
        if not 0 < alpha <= 1:
            raise ValueError(f"`alpha` must be in 0..1, and not 0. Received: alpha={alpha}")
        if update_every is not None and (not isinstance(update_every, int) or update_every < 1):
            raise ValueError(f"`update_every` must be None or a positive int. Received: update_every={update_every!r}")
        if isinstance(gamma, dict) and set(gamma) != set(kpis):
            raise ValueError(f"`gamma` must have the tasks of `kpis`, {sorted(kpis)}. Received: {sorted(gamma)}")
        validated = [kpi for kpi in kpis.values() if isinstance(kpi, str) and kpi.startswith("val_")]
        if validated and update_every is not None:
            raise ValueError(
                "`update_every` must be None for KPIs of validation, which are known after epochs. "
                f"Received: update_every={update_every}, {validated}"
            )
        self.gamma = {task: gamma[task] if isinstance(gamma, dict) else gamma for task in kpis}
        if not all(value >= 0 for value in self.gamma.values()):
            raise ValueError(f"`gamma` must be at least 0. Received: gamma={gamma}")
        self.kpis = dict(kpis)
        self.alpha = alpha
        self.update_every = update_every
        self._forget()

    def set_model(self, model: MeasuredNetwork) -> None:
        super().set_model(model)
        for task in self.kpis:
            model.task(task)
        self._weights = {task: weight for task, weight in model.variable_loss_weights().items() if task in self.kpis}
        self._own = {task: float(keras.ops.convert_to_numpy(weight)) for task, weight in self._weights.items()}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._forget()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._steps += 1
        if self.update_every is not None and self._steps % self.update_every == 0:
            self._update(logs or {})

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = {} if logs is None else logs
        if self.update_every is None:
            self._update(logs)
        logs.update({f"{task}_priority": priority for task, priority in self.priorities.items()})

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        never = sorted(self._without_validation - self.averages.keys())
        if never:
            warnings.warn(f"Loss weights stayed as they were, without validation, of tasks {never}", stacklevel=2)

    def _update(self, logs: Mapping[str, Any]) -> None:
        for task, kpi in self.kpis.items():
            value = self._read(task, kpi, logs)
            if value is None:
                self._without_validation.add(task)
                continue
            average = self.alpha * value + (1 - self.alpha) * self.averages.get(task, value)
            self.averages[task] = average
            self.priorities[task] = priority(average, self.gamma[task])
        self._assign({task: self._own[task] * weight for task, weight in self.priorities.items()})

    def _forget(self) -> None:
        self.averages: dict[str, float] = {}  # {task: k̄_t}
        self.priorities: dict[str, float] = {}  # {task: w_t}
        self._without_validation: set[str] = set()
        self._steps = 0

    def _assign(self, values: Mapping[str, float]) -> None:
        _ = self.model  # on JAX, variables can be set in the middle of an epoch once Keras has been asked for its model
        for task, value in values.items():
            self._weights[task].assign(value)

    @staticmethod
    def _read(task: str, kpi: KPI, logs: Mapping[str, Any]) -> float | None:
        """The KPI, or `None` if it is one of validation and there was none."""
        try:
            value = float(kpi(logs) if callable(kpi) else logs[kpi])
        except KeyError as error:
            (name,) = error.args
            if str(name).startswith("val_") and not any(entry.startswith("val_") for entry in logs):
                return None
            raise ValueError(
                f"The KPI of task {task!r} must be one of the logs {sorted(logs)}. Received: {name!r}"
            ) from error
        if not 0 <= value <= 1:
            raise ValueError(f"The KPI of task {task!r} must be in 0..1. Received: {value}")
        return value


def priority(average: float, gamma: float) -> float:
    """w = −(1 − k̄)^γ log k̄, with k̄ kept within 1e-6 of 0 and 1."""
    average = min(max(average, CLIP), 1 - CLIP)
    return -((1 - average) ** gamma) * math.log(average)
