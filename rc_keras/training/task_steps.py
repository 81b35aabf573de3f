"""One step of several tasks: apart, or jointly in what they share."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

import keras
from keras import ops

from rc_keras.base import replicas
from rc_keras.base.gradients import after, value_and_gradients
from rc_keras.base.keras_internals import HookedModel
from rc_keras.base.keras_types import Tensor
from rc_keras.training.label_keys import labelled
from rc_keras.training.per_task_optimizer import JOINT
from rc_keras.training.task_measures import TaskMeasures

Logs: TypeAlias = dict[str, Tensor]
_Groups: TypeAlias = Sequence[Sequence[keras.Variable]]
_State: TypeAlias = Sequence[Sequence[Tensor]]  # the values of groups of variables, as JAX hands them through a step


class TaskSteps(HookedModel):
    """`train_step` and `test_step` for labels `{task: labels}`; what they need is made by `TaskTrainer`."""

    optimizer: Any
    train_function: Any
    test_function: Any
    predict_function: Any

    def __init__(self, name: str | None, dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        # Held where Keras neither tracks nor saves it: measures come and go with the tasks.
        self._training = Training()

    def train_step(self, *args: Any) -> Logs | tuple[Logs, _State]:
        """One step: task after task, each with its own gradients and its own optimizer state, or all tasks at once."""
        if type(self).compute_loss is not TaskSteps.compute_loss:
            raise NotImplementedError(
                "A `compute_loss` of one's own needs a `train_step` of one's own that calls it: this one trains task "
                "after task, each with its own loss. The losses can be given as `compile(loss={task: loss})`."
            )
        if keras.backend.backend() == "jax":
            state, data = args
            groups = (
                self.trainable_variables,
                self.non_trainable_variables,
                self.optimizer.variables,
                self.metrics_variables,
            )
            return _stateless(self._train, groups, state, data)
        return self._train(*args)

    def test_step(self, *args: Any) -> Logs | tuple[Logs, _State]:
        """Losses and metrics of the tasks that have labels."""
        if keras.backend.backend() == "jax":
            state, data = args
            groups = (self.trainable_variables, self.non_trainable_variables, self.metrics_variables)
            return _stateless(self._test, groups, state, data)
        return self._test(*args)

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
        losses = [self._loss(name, y, y_pred[name], sample_weight) for name in names]
        for name, loss in zip(names, losses, strict=True):
            everywhere = replicas.sum_over_replicas(ops.stop_gradient(loss))
            self._training.measures[name].update_loss(y_pred[name], everywhere)
        branches = [self.joint_branch(names)] if self.jointly_trained else [self.branch(name) for name in names]
        total = _weighted_sum(losses, self._weights(names))
        for branch in branches:
            total = self._with_regularization(total, branch)
        return total

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
            self._training.measures[name].update_metrics(y[name], y_pred[name])
        return self._logs(names)

    def _train(self, data: Any) -> Logs:
        images, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        names = labelled(labels, self.trainable_tasks)
        self._prepare(names)
        if self.jointly_trained:
            return self._train_jointly(names, images, labels, sample_weight)
        losses: list[Tensor] = []
        gradients: list[Tensor | None] = []
        for name in names:
            branch = self.branch(name)
            variables = branch.trainable_variables
            optimizer = self.optimizer.of(name, variables)
            loss_scale = optimizer.scale_loss(ops.ones(()))
            weight = self._training.measures[name].current_weight()
            # Waiting for the previous task's gradients keeps the memory of a joint step at that of one task.
            inputs = after(images, gradients)

            def forward(
                name: str = name,
                branch: keras.Model = branch,
                inputs: Tensor = inputs,
                loss_scale: Tensor = loss_scale,
                weight: float | Tensor = weight,
            ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
                prediction = branch(inputs, training=True)
                loss = self._loss(name, labels, prediction, sample_weight)
                weighted = self._with_regularization(loss * weight, branch)
                return weighted * loss_scale, (prediction, loss, weighted)

            (prediction, loss, weighted), gradients = value_and_gradients(
                forward, variables, branch.non_trainable_variables
            )
            gradients = replicas.sum_over_replicas(gradients)
            loss, weighted = replicas.sum_over_replicas([loss, weighted])
            self.optimizer.apply_task(name, gradients, variables)
            self._training.measures[name].update(labels[name], prediction, loss)
            losses.append(weighted)
        return self._finish(names, images, losses)

    def _train_jointly(
        self,
        names: Sequence[str],
        images: Tensor,
        labels: Mapping[str, Tensor],
        sample_weight: Tensor | dict[str, Tensor] | None,
    ) -> Logs:
        """One step on all tasks at once: what they share moves by the sum of their gradients."""
        branch, joint = self.joint_branch(names), self.jointly_trained
        groups = {JOINT: joint, **{name: self._own_variables(name) for name in names}}
        variables = [v for group in groups.values() for v in group]
        scales = {name: self.optimizer.of(name, group).scale_loss(ops.ones(())) for name, group in groups.items()}

        weights = self._weights(names)  # read here: on JAX the function below sees no variables but the branch's

        def forward() -> tuple[Tensor, tuple[dict[str, Tensor], list[Tensor], Tensor]]:
            predictions = branch(images, training=True)
            losses = [self._loss(name, labels, predictions[name], sample_weight) for name in names]
            total = self._with_regularization(_weighted_sum(losses, weights), branch)
            return total * scales[JOINT], (predictions, losses, total)

        (predictions, losses, total), gradients = value_and_gradients(
            forward, variables, branch.non_trainable_variables
        )
        summed = iter(replicas.sum_over_replicas(gradients))
        *losses, total = replicas.sum_over_replicas([*losses, total])
        for name, group in groups.items():
            own = [next(summed) for _ in group]
            if name != JOINT:  # an optimizer takes its own loss scale out again
                own = [g if g is None else g * (scales[name] / scales[JOINT]) for g in own]
            self.optimizer.apply_task(name, own, group)
        for name, loss in zip(names, losses, strict=True):
            self._training.measures[name].update(labels[name], predictions[name], loss)
        return self._finish(names, images, [total])

    def _test(self, data: Any) -> Logs:
        images, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        measured, summed = self._training.selection or (self.tasks, self.tasks)
        names = self._training.measured = labelled(labels, measured)
        self._make_measures()
        if self.jointly_trained:
            return self._test_jointly(names, summed, images, labels, sample_weight)
        losses = []
        for name in names:
            prediction = self.branch(name)(images, training=False)
            loss = self._loss(name, labels, prediction, sample_weight)
            weight = self._training.measures[name].current_weight()
            weighted = self._with_regularization(loss * weight, self.branch(name))
            loss, weighted = replicas.sum_over_replicas([loss, weighted])
            self._training.measures[name].update(labels[name], prediction, loss)
            losses += [weighted] if name in summed else []
        return self._finish(names, images, losses)

    def _test_jointly(
        self,
        names: Sequence[str],
        summed: Sequence[str],
        images: Tensor,
        labels: Mapping[str, Tensor],
        sample_weight: Tensor | dict[str, Tensor] | None,
    ) -> Logs:
        """The losses and metrics of all tasks at once."""
        predictions = self.joint_branch(names)(images, training=False)
        losses = {name: self._loss(name, labels, predictions[name], sample_weight) for name in names}
        totals = []
        summed = [name for name in names if name in summed]
        if summed:
            total = _weighted_sum([losses[name] for name in summed], self._weights(summed))
            totals = replicas.sum_over_replicas([self._with_regularization(total, self.joint_branch(summed))])
        for name, loss in zip(names, replicas.sum_over_replicas(list(losses.values())), strict=True):
            self._training.measures[name].update(labels[name], predictions[name], loss)
        return self._finish(names, images, totals)

    def _own_variables(self, name: str) -> list[keras.Variable]:
        """The variables that only this task trains."""
        joint = {id(v) for v in self.jointly_trained}
        return [v for v in self.branch(name).trainable_variables if id(v) not in joint]

    def _loss(
        self,
        name: str,
        labels: Mapping[str, Tensor],
        prediction: Tensor,
        sample_weight: Tensor | dict[str, Tensor] | None,
    ) -> Tensor:
        """The task's loss; with several replicas the share of one replica, which add up."""
        weight = sample_weight.get(name) if isinstance(sample_weight, dict) else sample_weight
        return self._training.measures[name].loss(labels[name], prediction, sample_weight=weight)

    def _weights(self, names: Sequence[str]) -> list[float | Tensor]:
        return [self._training.measures[name].current_weight() for name in names]

    def _with_regularization(self, loss: Tensor, branch: keras.Model) -> Tensor:
        """What is differentiated: a weighted loss plus the regularization of a branch, a share of one replica."""
        for regularization in branch.losses:
            loss = loss + ops.sum(regularization) / replicas.replica_count()
        return loss

    def _finish(self, names: Sequence[str], images: Tensor, losses: Sequence[Tensor]) -> Logs:
        """Takes in the losses that count in the sum, and answers the logs."""
        if losses:
            self.loss_tracker.update_state(sum(losses), sample_weight=ops.shape(images)[0])
        return self._logs(names)

    def _logs(self, names: Sequence[str]) -> Logs:
        if replicas.in_replica():
            # One replica knows only its own part; the logs are read where all are known. Keras wants some tensor here.
            return {"loss": ops.zeros((1,))}
        return self._results(names)

    def _results(self, names: Collection[str]) -> Logs:
        """The logs of tasks; `loss` where one of them counts in it."""
        _, summed = self._training.selection or (self.tasks, self.tasks)
        counted = any(name in summed for name in names)
        results = {self.loss_tracker.name: self.loss_tracker.result()} if counted else {}
        for name in names:
            results |= self._training.measures[name].results()
        return results


class Training:
    """What `compile` was given besides the optimizer, and what `fit` and `evaluate` measure."""

    def __init__(self) -> None:
        self.overrides: dict[str, dict] = {}
        self.options: dict[str, Any] = {}
        self.measures: dict[str, TaskMeasures] = {}
        self.running = False  # whether `fit` runs
        # Names of the tasks that the data of `fit` and `evaluate` has labels of.
        self.trained: list[str] = []
        self.measured: list[str] = []
        # The tasks to measure, and those of them whose losses are summed; `None`: all. The step of each, compiled.
        self.selection: tuple[tuple[str, ...], tuple[str, ...]] | None = None
        self.test_functions: dict[Any, Any] = {}
        self.told: set[str] = set()  # the warnings given


def _weighted_sum(losses: Sequence[Tensor], weights: Sequence[float | Tensor]) -> Tensor:
    return sum(loss * weight for loss, weight in zip(losses, weights, strict=True))


def _stateless(step: Callable[[Any], Logs], groups: _Groups, state: _State, data: Any) -> tuple[Logs, _State]:
    """Runs a step as JAX wants it: variables come in as values, and go out as values."""
    mapping = [pair for group, values in zip(groups, state, strict=True) for pair in zip(group, values, strict=True)]
    with keras.StatelessScope(state_mapping=mapping) as scope:
        logs = step(data)
        state = tuple([scope.get_current_value(v) for v in group] for group in groups)
    return logs, state
