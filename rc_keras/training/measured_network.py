"""The losses, loss weights and metrics of a network of several tasks."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import keras

from rc_keras.base.keras_types import Tensor
from rc_keras.network.multi_task_network import MultiTaskNetwork
from rc_keras.training.class_weight import weights_of_pixels
from rc_keras.training.training_state import TrainingState

Logs: TypeAlias = dict[str, Tensor]


class MeasuredNetwork(MultiTaskNetwork):
    """A network whose tasks have losses, loss weights and metrics, as Keras asks for them."""

    train_function: Any
    test_function: Any
    predict_function: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Held where Keras neither tracks nor saves it: measures come and go with the tasks.
        self._training = TrainingState()

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        if not self.compiled:
            return []
        return [self.loss_tracker, *(m for measures in self._training.measures.values() for m in measures.metrics)]

    def get_metrics_result(self) -> Logs:
        """Results of all tasks; a metric of several numbers gives `<task>_<number>` for each."""
        return self._results(self._training.measures)

    def variable_loss_weights(self) -> dict[str, keras.Variable]:
        """The loss weights as variables, `{task: keras.Variable}`, for callbacks that change them while `fit` runs.

        They start anew from what the tasks or `compile` say. Without this they are constants of the compiled step. To
        be called in `Callback.set_model`, which Keras calls before it compiles the step.
        """
        self._make_measures()
        known = len(self.loss_weight_variables)
        with self._scope():
            variables = {name: measures.make_weight_variable() for name, measures in self._training.measures.items()}
        if known < len(variables):
            self.train_function = self.test_function = None
        return variables

    @property
    def loss_weight_variables(self) -> list[keras.Variable]:
        """Those made by `variable_loss_weights`, which count among the `non_trainable_variables`."""
        weights = [measures.weight_variable for measures in self._training.measures.values()]
        return [weight for weight in weights if weight is not None]

    @property
    def non_trainable_variables(self) -> list[keras.Variable]:
        return super().non_trainable_variables + self.loss_weight_variables

    def before_first_step(self) -> None:
        """All is built by now, but the metrics of `test_on_batch`."""
        self._make_measures()

    def _make_measures(self) -> None:
        """Makes the metrics of all tasks, so that no step or callback of `fit` adds any to the state of the model."""
        with self._scope():
            self._training.make_measures(self.task(name) for name in self.tasks)
        names = [metric.name for metric in self.metrics]
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"Metrics must have different names in the logs. Received twice: {twice}")

    def _before_change(self, leaving: str | None = None) -> None:
        """Makes Keras trace its steps anew, and drops what was measured of a task that goes."""
        if self._training.running:
            raise RuntimeError("Tasks must not be added, removed, loaded, frozen or thawed while `fit` runs.")
        self.train_function = self.test_function = self.predict_function = None
        if leaving is not None:
            self._training.forget(leaving)

    def _losses_of(
        self,
        names: Iterable[str],
        labels: Mapping[str, Tensor],
        predictions: Mapping[str, Tensor],
        sample_weight: Tensor | Mapping[str, Tensor] | None,
        training: bool = False,
    ) -> list[Tensor]:
        """The losses of tasks; with several replicas the shares of one replica, which add up."""
        losses = []
        for name in names:
            weight = self._weight_of(name, labels, predictions, sample_weight, training)
            losses.append(self._training.measures[name].loss(labels[name], predictions[name], sample_weight=weight))
        return losses

    def _weight_of(
        self,
        name: str,
        labels: Mapping[str, Tensor],
        predictions: Mapping[str, Tensor],
        sample_weight: Tensor | Mapping[str, Tensor] | None,
        training: bool,
    ) -> Tensor | None:
        """The weights of a task's samples or pixels, in training times those of their classes."""
        weight = sample_weight.get(name) if isinstance(sample_weight, dict) else sample_weight
        class_weights = self._training.class_weights.get(name) if training else None
        if class_weights is None:
            return weight
        return weights_of_pixels(class_weights, labels[name], predictions[name], weight)

    def _loss_weights(self, names: Iterable[str]) -> list[float | Tensor]:
        return [self._training.measures[name].current_weight() for name in names]

    def _selected(self) -> tuple[Sequence[str], Sequence[str]]:
        """Names of the tasks to measure, and of those of them whose losses are summed."""
        return self._training.selection or (self.tasks, self.tasks)

    def _results(self, names: Collection[str]) -> Logs:
        """The logs of tasks; `loss` where one of them counts in it."""
        _, summed = self._selected()
        counted = any(name in summed for name in names)
        results = {self.loss_tracker.name: self.loss_tracker.result()} if counted else {}
        for name in names:
            results |= self._training.measures[name].results()
        return results
