"""Training of a model of several tasks, apart, or jointly in what they share."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from rc_keras.base import replicas
from rc_keras.base.keras_internals import FROM_FIT
from rc_keras.base.keras_types import Tensor
from rc_keras.tasks.task import Task
from rc_keras.training import first_batch, label_keys, named_measures
from rc_keras.training.first_batch import FirstBatch
from rc_keras.training.non_finite_loss import StopAtNonFiniteLoss
from rc_keras.training.per_task_optimizer import JOINT, PerTaskOptimizer
from rc_keras.training.task_measures import TaskMeasures
from rc_keras.training.task_steps import Logs, TaskSteps


class TaskTrainer(TaskSteps):
    """`compile`, `fit`, `evaluate` and `predict` for labels `{task: labels}`.

    Keras's own steps refuse missing labels, and an optimizer that meets new variables. Here the tasks of a step are
    those that have labels, and each has its own gradients and optimizer state. Where tasks have variables in common
    that they train jointly, a step sums their gradients there, and those variables have an optimizer state too.

    A subclass answers `tasks`, `trainable_tasks`, `task(name)`, `branch(name)`, `image_shape`, `jointly_trained` and,
    where that is not empty, `joint_branch(names)`, see `MultiTaskModel`.
    """

    def compile(
        self,
        optimizer: str | dict[str, Any] | keras.optimizers.Optimizer = "rmsprop",
        loss: dict[str, Any] | None = None,
        loss_weights: dict[str, float] | None = None,
        metrics: dict[str, Sequence[Any]] | None = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Configures the model for `fit`.

        Losses, loss weights and metrics are the tasks' own where they are not given. Compiling again with the
        optimizer that is in place keeps its state.

        Args:
            optimizer: a `keras.optimizers.Optimizer` or a name. Every task gets its own copy of it, with the learning
                rate in common.
            loss: `{task: keras.losses.Loss, function or name}`, or `None`; see `named_measures.get_loss`.
            loss_weights: `{task: number}`, or `None`.
            metrics: `{task: [keras.metrics.Metric, function or name]}`, or `None`; see `named_measures.get_metric`.
            run_eagerly, steps_per_execution, jit_compile, auto_scale_loss: as in `keras.Model.compile`.
        """
        if isinstance(optimizer, dict) and "class_name" not in optimizer:
            raise ValueError(f"`optimizer` must be one for all tasks, or its name. Received: optimizer={optimizer!r}")
        overrides: dict[str, dict[str, Any] | None] = {"loss": loss, "metrics": metrics, "loss_weights": loss_weights}
        for argument, mapping in overrides.items():
            if mapping is not None and not isinstance(mapping, dict):
                raise ValueError(f"`{argument}` must be a dict with task names as keys. Received: {mapping!r}")
            for name in mapping or ():
                self.task(name)
        for name, chosen in (loss or {}).items():
            named_measures.get_loss(chosen, self.task(name))
        _check_metrics(metrics or {}, self.task)
        previous = getattr(self, "optimizer", None)
        if isinstance(optimizer, PerTaskOptimizer):
            optimizer = optimizer.prototype
        options = {"run_eagerly": run_eagerly, "steps_per_execution": steps_per_execution, "jit_compile": jit_compile}
        super().compile(optimizer=optimizer, auto_scale_loss=auto_scale_loss, **options)
        in_place = isinstance(previous, PerTaskOptimizer) and previous.holds(optimizer)
        self.optimizer = previous if in_place else PerTaskOptimizer(self.optimizer, self._trace_training_anew)
        self._training.overrides = {argument: dict(mapping or {}) for argument, mapping in overrides.items()}
        self._training.options = options
        self._training.measures.clear()

    def get_compile_config(self) -> dict[str, Any]:
        if not self.compiled:
            return {}
        return {
            "optimizer": keras.saving.serialize_keras_object(self.optimizer.prototype),
            "overrides": keras.saving.serialize_keras_object(self._training.overrides),
            "options": dict(self._training.options),
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        overrides = keras.saving.deserialize_keras_object(config["overrides"])
        self.compile(
            optimizer=keras.saving.deserialize_keras_object(config["optimizer"]),
            auto_scale_loss=False,  # the saved optimizer is wrapped already where it should be
            **overrides,
            **config["options"],
        )

    def fit(
        self, x: Any = None, y: Any = None, *args: Any, validation_tasks: Sequence[str] | None = None, **kwargs: Any
    ) -> keras.callbacks.History:
        """Trains; `keras.Model.fit` with labels as `{task: labels}`.

        Batches come in the number and order in which plain Keras has them. The first one is checked on the host before
        anything is trained, and the first of the validation data too, but for that of a `tf.data.Dataset` or a torch
        `DataLoader`, which is checked where it is read. `rc_keras.check_data` looks at all batches.

        `val_loss` sums the tasks that are trained, like `loss`, and only these are measured on the validation data;
        frozen ones with `validation_tasks`, or by `evaluate`.

        Args:
            x, y, args, kwargs: as of `keras.Model.fit`.
            validation_tasks: names of tasks to measure on the validation data besides those that are trained. Their
                losses and metrics are logged, but are no part of `val_loss`.

        Returns:
            Keras's `History`.

        Raises:
            ValueError: if images or labels of the first batch are not what the model and its tasks expect.
            NonFiniteLossError: at the first loss that is NaN or infinite, unless a callback has stopped the training.

        Warns:
            UserWarning: once, of labels whose key is no task, of trainable tasks without labels, and of trained tasks
                without labels in the validation data.
        """
        arguments = inspect.signature(keras.Model.fit).bind(self, x, y, *args, **kwargs).arguments
        del arguments["self"]
        extra = self._known_tasks("validation_tasks", validation_tasks)
        if hasattr(x, "element_spec"):
            arguments.setdefault("shuffle", False)  # Keras warns about its own default, which a tf.data.Dataset ignores
        names: list[str] = []
        looks = [self._look(arguments, functools.partial(self._note_trained, names))]
        names = names or self.trainable_tasks
        measured = tuple(name for name in self.tasks if name in names or name in extra)
        validation = arguments.get("validation_data")
        if validation is not None:
            unpacked = keras.utils.unpack_x_y_sample_weight(validation)
            data = dict(zip(("x", "y", "sample_weight"), unpacked, strict=True))
            looks.append(self._look(data, functools.partial(self._note_validated, measured, names), read_now=False))
            if unpacked[1] is None:
                arguments["validation_data"] = data["x"]
        self._prepare(names)
        arguments["callbacks"] = self._with_check_of_losses(arguments.get("callbacks"))
        self._training.running = True
        try:
            with self._measuring((measured, tuple(names))), _own_errors(looks):
                history = super().fit(**arguments)
        finally:
            self._training.running = False
            for measures in self._training.measures.values():
                measures.restore_weight()  # what a callback made of it ends with `fit`, however that ends
        if history.epoch and not looks[0].seen:
            raise first_batch.empty(type(x).__name__)
        return history

    def train_on_batch(self, x: Tensor, y: dict[str, Tensor] | None = None, *args: Any, **kwargs: Any) -> Any:
        """One step on one batch; `keras.Model.train_on_batch` with labels as `{task: labels}`."""
        self._prepare(label_keys.labelled(y, self.trainable_tasks))
        return super().train_on_batch(x, y, *args, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Measures all tasks that have labels; `keras.Model.evaluate` with labels as `{task: labels}`."""
        arguments = inspect.signature(keras.Model.evaluate).bind(self, x, y, *args, **kwargs).arguments
        arguments.update(arguments.pop("kwargs", {}))
        del arguments["self"]
        if arguments.get(FROM_FIT):
            return super().evaluate(**arguments)
        look = self._look(arguments, self._note_measured)
        self._check_compiled("evaluate")
        self._make_measures()
        with self._measuring(None), _own_errors([look]):
            results = super().evaluate(**arguments)
        if not look.seen:
            raise first_batch.empty(type(x).__name__)
        return results

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> dict[str, np.ndarray]:
        """Raw predictions of all tasks, `{task: array}`; `keras.Model.predict`."""

        def check(batch: Any) -> None:
            first_batch.check_images(keras.utils.unpack_x_y_sample_weight(batch)[0], self.image_shape)

        look = FirstBatch(check)
        with _own_errors([look]):
            return super().predict(look.watch(x), *args, **kwargs)

    def _look(
        self, arguments: dict[str, Any], note: Callable[[Any], Sequence[str]], read_now: bool = True
    ) -> FirstBatch:
        """Has the first batch of data checked as it is read; puts the data to use from now on into `arguments`.

        Args:
            arguments: `x`, and maybe `y`, `sample_weight` and `batch_size`.
            note: function of the labels, as soon as their keys are known; it answers the tasks whose labels to check.
            read_now: see `FirstBatch.watch`.
        """

        def check(batch: Any) -> None:
            images, labels, _ = keras.utils.unpack_x_y_sample_weight(batch)
            names = note(labels)
            first_batch.check_images(images, self.image_shape)
            for name in names:
                self.task(name).check_labels(labels[name], tuple(images.shape))

        look, x = FirstBatch(check), arguments.get("x")
        spec = getattr(x, "element_spec", None)
        if isinstance(spec, (tuple, list)):
            images, labels, _ = keras.utils.unpack_x_y_sample_weight(spec)
            note(labels)
            if hasattr(images, "shape"):  # not so of distributed ones
                first_batch.check_image_spec(images, self.image_shape)
        arguments["x"] = look.watch(
            x, arguments.get("y"), arguments.get("sample_weight"), arguments.get("batch_size"), read_now
        )
        return look

    def _note_trained(self, names: list[str], labels: Any) -> list[str]:
        """Puts the names of the tasks to train into a list."""
        names[:] = label_keys.labelled(labels, self.trainable_tasks)
        told = self._training.told
        label_keys.warn_of_unknown(labels, self.tasks, told)
        consequence = "which are trainable, so that these are not trained"
        label_keys.warn_of_missing(labels, self.trainable_tasks, told, "Labels", consequence)
        return names

    def _note_validated(self, measured: Sequence[str], trained: Sequence[str], labels: Any) -> list[str]:
        """Keeps the names of the tasks to measure in the validation of `fit`."""
        self._training.measured = label_keys.labelled(labels, measured)
        told, where = self._training.told, "Labels of the validation data"
        label_keys.warn_of_unknown(labels, self.tasks, told, where)
        label_keys.warn_of_missing(labels, trained, told, where, "which are trained, so that these are not validated")
        return self._training.measured

    def _note_measured(self, labels: Any) -> list[str]:
        """Keeps the names of the tasks to measure in `evaluate`."""
        self._training.measured = label_keys.labelled(labels, self.tasks)
        label_keys.warn_of_unknown(labels, self.tasks, self._training.told)
        return self._training.measured

    def _known_tasks(self, argument: str, names: Sequence[str] | None) -> list[str]:
        if isinstance(names, str):
            raise ValueError(f"`{argument}` must be a list of task names. Received: {argument}={names!r}")
        return [self.task(name).name for name in names or ()]

    def _with_check_of_losses(self, callbacks: Any) -> Any:
        """The callbacks of `fit`, with one that stops at a loss which is no number."""
        whole = isinstance(callbacks, keras.callbacks.CallbackList)
        listed = callbacks.callbacks if whole else keras.tree.flatten([] if callbacks is None else callbacks)
        if not any(isinstance(callback, StopAtNonFiniteLoss) for callback in listed):
            listed.append(StopAtNonFiniteLoss())
            listed[-1].set_model(self)
        return callbacks if whole else listed

    @contextlib.contextmanager
    def _measuring(self, selection: tuple[tuple[str, ...], tuple[str, ...]] | None) -> Iterator[None]:
        """Context in which `test_step` measures a selection, see `Training`; one of all tasks is the same as `None`."""
        before = self._training.selection
        everything = tuple(self.tasks)
        self._training.selection = None if selection == (everything, everything) else selection
        try:
            yield
        finally:
            self._training.selection = before

    def _check_compiled(self, method: str) -> None:
        if not self.compiled:
            raise ValueError(f"`compile` must be called before `{method}`. Received: a model that is not compiled")

    def _prepare(self, names: list[str]) -> None:
        """Makes the optimizer states and the metrics that a step with these tasks needs."""
        self._check_compiled("fit")
        if not self.trainable:
            raise ValueError("`model.trainable` must be True to train. Received: trainable=False")
        names = names or self.trainable_tasks
        with self._scope():
            for name in names:
                self.optimizer.of(name, self._own_variables(name))
            if self.jointly_trained:
                self.optimizer.of(JOINT, self.jointly_trained)
        self.optimizer.activate([*names, JOINT] if self.jointly_trained else names)
        self.optimizer.follow_schedules()
        self._training.trained = names
        self._make_measures()

    def before_first_step(self) -> None:
        """All is built by now, but the metrics of `test_on_batch`."""
        self._make_measures()

    def make_train_function(self, force: bool = False) -> Callable[[Iterator[Any]], Logs]:
        """As Keras; with several replicas the logs are those of the whole batch.

        Keras 3.15 averages the logs of the replicas, which is wrong for most metrics, and fails with several workers
        (keras#20585: "Invalid reduction dimension 0"). This can go when it reads them outside of the replicas.
        """
        if self.train_function is None or force:
            super().make_train_function(force)
            self.train_function = self._with_logs(self.train_function, lambda: self._training.trained)
        return self.train_function

    def _trace_training_anew(self) -> None:
        self.train_function = None
        if self._training.running:
            self.make_train_function()

    def make_test_function(self, force: bool = False) -> Callable[[Iterator[Any]], Logs]:
        """See `make_train_function`; each selection of tasks has its own function."""
        functions, selection = self._training.test_functions, self._training.selection
        if self.test_function is None or force:  # whoever set it to `None` wants all of them traced anew
            functions.clear()
        if selection not in functions:
            # A function of its own: JAX finds what it has traced by the function, and a method is always the same.
            step = type(self).test_step
            self.test_step = lambda *args: step(self, *args)  # type: ignore[method-assign]  # until it is deleted below
            try:
                super().make_test_function(force=True)
            finally:
                del self.test_step
            functions[selection] = self._with_logs(self.test_function, lambda: self._training.measured)
        self.test_function = functions[selection]
        return self.test_function

    def _with_logs(
        self, step_function: Callable[[Iterator[Any]], Logs], names: Callable[[], Sequence[str]]
    ) -> Callable[[Iterator[Any]], Logs]:
        with self._scope():
            if replicas.replica_count() == 1:
                return step_function
        return replicas.with_logs_of_all_replicas(step_function, self._results, names)

    def _scope(self) -> contextlib.AbstractContextManager[Any]:
        """The `tf.distribute` strategy the model was made under, for what is made later."""
        return replicas.scope_of(getattr(self, "distribute_strategy", None))

    def _make_measures(self) -> None:
        """Makes the metrics of all tasks, so that no step or callback of `fit` adds any to the state of the model."""
        with self._scope():
            for name in self.tasks:
                if name not in self._training.measures:
                    own = {argument: mapping.get(name) for argument, mapping in self._training.overrides.items()}
                    self._training.measures[name] = TaskMeasures(
                        self.task(name), own["loss"], own["loss_weights"], own["metrics"]
                    )
        names = [metric.name for metric in self.metrics]
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"Metrics must have different names in the logs. Received twice: {twice}")

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
        """Those made by `variable_loss_weights`; a model lists them among its `non_trainable_variables`."""
        weights = [measures.weight_variable for measures in self._training.measures.values()]
        return [weight for weight in weights if weight is not None]

    def _forget_task(self, name: str) -> None:
        """Drops the optimizer state, the measures and what `compile` was given for a task."""
        self._training.measures.pop(name, None)
        for mapping in self._training.overrides.values():
            mapping.pop(name, None)
        if isinstance(getattr(self, "optimizer", None), PerTaskOptimizer):
            self.optimizer.forget(name)

    def _forget_functions(self) -> None:
        """Makes Keras trace its steps anew."""
        if self._training.running:
            raise RuntimeError("Tasks must not be added, removed, loaded, frozen or thawed while `fit` runs.")
        self.train_function = self.test_function = self.predict_function = None

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        if not self.compiled:
            return []
        return [self.loss_tracker, *(m for measures in self._training.measures.values() for m in measures.metrics)]

    def get_metrics_result(self) -> Logs:
        """Results of all tasks; a metric of several numbers gives `<task>_<number>` for each."""
        return self._results(self._training.measures)


@contextlib.contextmanager
def _own_errors(looks: Sequence[FirstBatch]) -> Iterator[None]:
    """Raises what a check of the first batch raised, instead of what TensorFlow made of it."""
    try:
        yield
    except Exception:
        for look in looks:
            if look.error is not None:
                raise look.error from None
        raise


def _check_metrics(metrics: dict[str, Any], task: Callable[[str], Task]) -> None:
    """Raises a `ValueError` if `compile` cannot take these metrics."""
    used: set[int] = set()
    for name, chosen in metrics.items():
        if not isinstance(chosen, (list, tuple)):
            raise ValueError(f"`metrics` must have lists as values. Received: {chosen!r} for task {name!r}")
        for metric in chosen:
            named_measures.get_metric(metric, task(name))
            if isinstance(metric, keras.metrics.Metric) and not named_measures.is_made_anew(metric):
                if id(metric) in used:
                    raise ValueError(
                        "`metrics` must have one of its own for each task, else these count in the same "
                        f"variables. Received twice: {metric.name!r}"
                    )
                used.add(id(metric))
