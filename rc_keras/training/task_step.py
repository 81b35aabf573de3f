"""One step of several tasks: apart, or jointly in what they share."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from rc_keras.base import replicas
from rc_keras.base.gradients import after, value_and_gradients
from rc_keras.base.keras_types import Tensor
from rc_keras.base.stateless_step import run_step
from rc_keras.training.label_keys import labelled
from rc_keras.training.measured_network import Logs, MeasuredNetwork
from rc_keras.training.per_task_optimizer import PerTaskOptimizer
from rc_keras.training.step_plan import Part, plan


class TaskStep(MeasuredNetwork):
    """`train_step` and `test_step` for labels `{task: labels}`, part after part of their `plan`."""

    optimizer: Any

    def train_step(self, *args: Any) -> Any:
        """One step: task after task, each with its own gradients and its own optimizer state, or all tasks at once."""
        if type(self).compute_loss is not TaskStep.compute_loss:
            raise NotImplementedError(
                "A `compute_loss` of one's own needs a `train_step` of one's own that calls it: this one trains task "
                "after task, each with its own loss. The losses can be given as `compile(loss={task: loss})`."
            )
        return run_step(self._train, lambda: (*self._state(), self.optimizer.variables, self.metrics_variables), args)

    def test_step(self, *args: Any) -> Any:
        """Losses and metrics of the tasks that have labels."""
        return run_step(self._test, lambda: (*self._state(), self.metrics_variables), args)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Tensor | dict[str, Tensor] | None = None,
        training: bool = True,
    ) -> Tensor:
        """The loss of a batch, for a `train_step` or `test_step` of one's own, on TensorFlow and torch.

        The sum of the tasks' weighted losses and of the regularization of what they train; with several replicas the
        share of one. The optimizer's `apply` and `apply_gradients` take its gradients by all trainable variables:

        >>> class Model(rc_keras.MultiTaskModel):
        ...     def train_step(self, data):
        ...         x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        ...         with tf.GradientTape() as tape:
        ...             y_pred = self(x, training=True)
        ...             loss = self.compute_loss(x, y, y_pred, sample_weight)
        ...         self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        ...         self.metrics[0].update_state(loss)  # "loss"; those of the tasks are taken in by both calls
        ...         return self.compute_metrics(x, y, y_pred, sample_weight)

        Args:
            x: not used.
            y: `{task: labels}`.
            y_pred: `{task: raw prediction}`, as the model answers.
            sample_weight: of all tasks, or `{task: weights}`.
            training: whether only trainable tasks count.

        Returns:
            A scalar.

        Raises:
            ValueError: if no task has labels and a prediction.
        """
        candidates = [name for name in (self.trainable_tasks if training else self.tasks) if name in y_pred]
        names = labelled(y, candidates)
        losses = self._losses_of(names, y, y_pred, sample_weight, training)
        for name, loss in zip(names, losses, strict=True):
            everywhere = replicas.sum_over_replicas(ops.stop_gradient(loss))
            self._training.measures[name].update_loss(y_pred[name], everywhere)
        return _total(losses, self._loss_weights(names), plan(self, names))

    def compute_metrics(
        self,
        x: Any,
        y: dict[str, Tensor],
        y_pred: dict[str, Tensor],
        sample_weight: Tensor | dict[str, Tensor] | None = None,
    ) -> Logs:
        """Takes a batch into the tasks' metrics; returns the logs. For a step of one's own, see `compute_loss`."""
        names = labelled(y, [name for name in self.tasks if name in y_pred])
        for name in names:
            weight = self._weight_of(name, y, y_pred, sample_weight, training=False)
            self._training.measures[name].update_metrics(y[name], y_pred[name], weight)
        return self._logs(names)

    def _prepare(self, names: Sequence[str]) -> None:
        """Makes the optimizer states and the metrics that a step with these tasks needs; with none: all trainable."""
        self._check_compiled("fit")
        if not self.trainable:
            raise ValueError("`model.trainable` must be True to train. Received: trainable=False")
        names = names or self.trainable_tasks
        groups = {state: group for part in plan(self, names) for state, group in part.groups.items()}
        with self._scope():
            for state, group in groups.items():
                self.optimizer.of(state, group)
        self.optimizer.activate(groups)
        self.optimizer.follow_schedules()
        self._training.trained = list(names)
        self._make_measures()

    def _check_compiled(self, method: str) -> None:
        if not self.compiled:
            raise ValueError(f"`compile` must be called before `{method}`. Received: a model that is not compiled")

    def _before_change(self, leaving: str | None = None) -> None:
        super()._before_change(leaving)
        optimizer = getattr(self, "optimizer", None)
        if leaving is not None and isinstance(optimizer, PerTaskOptimizer):
            optimizer.forget(leaving)

    def _state(self) -> tuple[list[keras.Variable], list[keras.Variable]]:
        return self.trainable_variables, self.non_trainable_variables

    def _train(self, data: Any) -> Logs:
        images, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        names = labelled(labels, self.trainable_tasks)
        self._prepare(names)
        features = self.common_features(images)
        totals: list[Tensor] = []
        gradients: list[Tensor | None] = []
        for part in plan(self, names):
            # Waiting for the previous part's gradients keeps the memory of a step at that of one part.
            total, gradients = self._train_part(part, after(features, gradients), labels, sample_weight)
            totals.append(total)
        return self._finish(names, images, totals)

    def _train_part(
        self, part: Part, features: Any, labels: dict[str, Tensor], sample_weight: Any
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Moves what a part trains; what tasks share moves by the sum of their gradients.

        Returns:
            `(total, gradients)`: the loss that was differentiated, without its scale, and its gradients, over all
            replicas.
        """
        groups = part.groups
        variables = [v for group in groups.values() for v in group]
        one = ops.ones((), "float32")  # as losses are, whatever `floatx`
        scales = {state: self.optimizer.of(state, group).scale_loss(one) for state, group in groups.items()}
        first = next(iter(groups))
        weights = self._loss_weights(part.tasks)  # read here: on JAX `forward` sees no variables but the branch's

        def forward() -> tuple[Tensor, tuple[dict[str, Tensor], list[Tensor], Tensor]]:
            predictions = part.predictions(features, training=True)
            losses = self._losses_of(part.tasks, labels, predictions, sample_weight, training=True)
            total = _total(losses, weights, [part])
            return total * scales[first], (predictions, losses, total)

        (predictions, losses, total), gradients = value_and_gradients(
            forward, variables, part.branch.non_trainable_variables
        )
        gradients = replicas.sum_over_replicas(gradients)
        *losses, total = replicas.sum_over_replicas([*losses, total])
        left = iter(gradients)
        for state, group in groups.items():
            own = [next(left) for _ in group]
            if state != first:  # an optimizer takes its own loss scale out again
                own = [g if g is None else g * (scales[state] / scales[first]) for g in own]
            self.optimizer.apply_task(state, own, group)
        self._take_in(part, labels, predictions, losses, sample_weight, training=True)
        return total, gradients

    def _test(self, data: Any) -> Logs:
        images, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        measured, summed = self._selected()
        names = self._training.measured = labelled(labels, measured)
        self._make_measures()
        features = self.common_features(images)
        totals: list[Tensor] = []
        for part in plan(self, names):
            predictions = part.predictions(features, training=False)
            losses = self._losses_of(part.tasks, labels, predictions, sample_weight)
            counted = {name: loss for name, loss in zip(part.tasks, losses, strict=True) if name in summed}
            if counted:
                total = _total(list(counted.values()), self._loss_weights(counted), plan(self, list(counted)))
                totals.append(replicas.sum_over_replicas(total))
            everywhere = replicas.sum_over_replicas(losses)
            self._take_in(part, labels, predictions, everywhere, sample_weight, training=False)
        return self._finish(names, images, totals)

    def _take_in(
        self,
        part: Part,
        labels: dict[str, Tensor],
        predictions: dict[str, Tensor],
        losses: Sequence[Tensor],
        sample_weight: Any,
        training: bool,
    ) -> None:
        """Takes a batch into the measures of tasks."""
        for name, loss in zip(part.tasks, losses, strict=True):
            measures, weight = self._training.measures[name], None
            if measures.takes_weights:
                weight = self._weight_of(name, labels, predictions, sample_weight, training)
            measures.update(labels[name], predictions[name], loss, weight)

    def _finish(self, names: Sequence[str], images: Tensor, totals: Sequence[Tensor]) -> Logs:
        """Takes in the losses that count in the sum, and answers the logs."""
        if totals:
            self.loss_tracker.update_state(sum(totals), sample_weight=ops.shape(images)[0])
        return self._logs(names)

    def _logs(self, names: Sequence[str]) -> Logs:
        if replicas.in_replica():
            # One replica knows only its own part; the logs are read where all are known. Keras wants some tensor here.
            return {"loss": ops.zeros((1,))}
        return self._results(names)


def _total(losses: Sequence[Tensor], weights: Sequence[float | Tensor], parts: Sequence[Part]) -> Tensor:
    """What is differentiated: weighted losses plus the regularization of what computed them, a share of one replica."""
    first, *others = [loss * weight for loss, weight in zip(losses, weights, strict=True)]
    others += [ops.sum(term) / replicas.replica_count() for part in parts for term in part.branch.losses]
    return sum(others, first)
