"""Training of a model of several tasks, apart, or jointly in what they share."""

import inspect
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from rc_keras.base.keras_internals import FROM_FIT
from rc_keras.base.keras_types import Tensor
from rc_keras.training import label_keys
from rc_keras.training.class_weight import checked_class_weights
from rc_keras.training.compile_arguments import check_arguments
from rc_keras.training.compiled_steps import CompiledSteps
from rc_keras.training.data_looks import DataLooks
from rc_keras.training.given_optimizers import JOINT, is_by_task
from rc_keras.training.lagging_norms import LaggingNorms
from rc_keras.training.non_finite_loss import StopAtNonFiniteLoss
from rc_keras.training.own_callbacks import with_own_callbacks
from rc_keras.training.per_task_optimizer import PerTaskOptimizer


class TaskTrainer(CompiledSteps):
    """`compile`, `fit`, `evaluate` and `predict` for labels `{task: labels}`.

    Keras's own steps refuse missing labels, and an optimizer that meets new variables. Here the tasks of a step are
    those that have labels, and each has its own gradients and optimizer state. Where tasks have variables in common
    that they train jointly, a step sums their gradients there, and those variables have an optimizer state too.
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
        weighted_metrics: dict[str, Sequence[Any]] | None = None,
    ) -> None:
        """Configures the model for `fit`.

        Losses, loss weights and metrics are the tasks' own where they are not given. Compiling again with the
        optimizer that is in place keeps its state; of several, those that are in place keep theirs.

        Args:
            optimizer: a `keras.optimizers.Optimizer` or a name. Every task gets its own copy of it, with the learning
                rate in common. Or `{task: optimizer}`, each with a learning rate of its own; the entry `"all"` is for
                tasks that are not named, and for what all tasks train jointly (`multi_task`, `squeeze_excite`), which
                needs it. A task trains as it would alone with its optimizer. Callbacks such as
                `keras.callbacks.LearningRateScheduler` act on each of the tasks that are trained, and log
                `learning_rate_<task>`. After `add_task`, compile again with an entry for the new one.
            loss: `{task: keras.losses.Loss, function or name}`, or `None`; see `named_measures.get_loss`.
            loss_weights: `{task: number}`, or `None`.
            metrics: `{task: [keras.metrics.Metric, function or name]}`, or `None`; see `named_measures.get_metric`.
            run_eagerly, steps_per_execution, jit_compile, auto_scale_loss: as in `keras.Model.compile`.
            weighted_metrics: `{task: [metric]}` as `metrics`, of those that take `sample_weight`, and in training
                `class_weight` too. The metrics of this package take a weight for whether a pixel counts.
        """
        overrides: dict[str, dict[str, Any] | None] = {"loss": loss, "metrics": metrics, "loss_weights": loss_weights}
        if weighted_metrics is not None:  # files without it can be read by earlier versions
            overrides["weighted_metrics"] = weighted_metrics
        check_arguments(optimizer, overrides, self.task)
        previous = getattr(self, "optimizer", None)
        options = {"run_eagerly": run_eagerly, "steps_per_execution": steps_per_execution, "jit_compile": jit_compile}
        if isinstance(optimizer, PerTaskOptimizer):
            optimizer = optimizer.prototypes
        by_task: dict[str, Any] = dict(optimizer) if is_by_task(optimizer) else {JOINT: optimizer}
        for name, chosen in by_task.items():
            super().compile(optimizer=chosen, auto_scale_loss=auto_scale_loss, **options)
            by_task[name] = self.optimizer
        self.optimizer = PerTaskOptimizer(by_task, self._trace_training_anew)
        if isinstance(previous, PerTaskOptimizer):
            self.optimizer = self.optimizer.going_on_from(previous)
        self._training.overrides = {argument: dict(mapping or {}) for argument, mapping in overrides.items()}
        self._training.options = options
        self._training.measures.clear()

    def get_compile_config(self) -> dict[str, Any]:
        if not self.compiled:
            return {}
        optimizers = {name: o for name, o in self.optimizer.prototypes.items() if name in (JOINT, *self.tasks)}
        if not optimizers:
            return {}  # all were for tasks that have gone
        optimizer = optimizers[JOINT] if list(optimizers) == [JOINT] else optimizers
        return {
            "optimizer": keras.saving.serialize_keras_object(optimizer),
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
            x, y, args, kwargs: as of `keras.Model.fit`, but `class_weight`, which is `{task: {class id: weight}}`, for
                tasks with classes or of yes and no: in the loss of training, the pixels of a class weigh as much (1
                where nothing is said), times their `sample_weight`.
            validation_tasks: names of tasks to measure on the validation data besides those that are trained. Their
                losses and metrics are logged, but are no part of `val_loss`.

        Returns:
            Keras's `History`.

        Raises:
            ValueError: if images or labels of the first batch are not what the model and its tasks expect.
            NonFiniteLossError: at the first loss that is NaN or infinite, unless a callback has stopped the training.

        Warns:
            UserWarning: once, of labels whose key is no task, of trainable tasks without labels, of trained tasks
                without labels in the validation data, and of norms whose moving averages are still those from before
                the training, see `rc_keras.backbones.with_norm_momentum`.
        """
        arguments = inspect.signature(keras.Model.fit).bind(self, x, y, *args, **kwargs).arguments
        del arguments["self"]
        extra = self._known_tasks("validation_tasks", validation_tasks)
        self._weigh_classes(arguments.pop("class_weight", None))
        if hasattr(x, "element_spec"):
            arguments.setdefault("shuffle", False)  # Keras warns about its own default, which a tf.data.Dataset ignores
        looks = DataLooks(self, self._training)
        names = looks.at_training(arguments) or self.trainable_tasks
        measured = tuple(name for name in self.tasks if name in names or name in extra)
        validation = arguments.get("validation_data")
        if validation is not None:
            unpacked = keras.utils.unpack_x_y_sample_weight(validation)
            data = dict(zip(("x", "y", "sample_weight"), unpacked, strict=True))
            looks.at_validation(data, measured, names)
            if unpacked[1] is None:
                arguments["validation_data"] = data["x"]
        self._prepare(names)
        lagging = LaggingNorms({name: self.branch(name) for name in names})
        own = [StopAtNonFiniteLoss(), lagging]
        arguments["callbacks"] = with_own_callbacks(arguments.get("callbacks"), own, self)
        self._training.running = True
        try:
            with self._measuring((measured, tuple(names))), looks.own_errors():
                history = super().fit(**arguments)
        finally:
            self._training.running = False
            for measures in self._training.measures.values():
                measures.restore_weight()  # what a callback made of it ends with `fit`, however that ends
        if history.epoch:
            looks.check_first_seen(x)
            lagging.warn(self._training.told)
        return history

    def train_on_batch(self, x: Tensor, y: dict[str, Tensor] | None = None, *args: Any, **kwargs: Any) -> Any:
        """One step on one batch; `keras.Model.train_on_batch` with labels as `{task: labels}`, see `fit`."""
        arguments = inspect.signature(keras.Model.train_on_batch).bind(self, x, y, *args, **kwargs).arguments
        del arguments["self"]
        self._weigh_classes(arguments.pop("class_weight", None))
        self._prepare(label_keys.labelled(y, self.trainable_tasks))
        return super().train_on_batch(**arguments)

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Measures all tasks that have labels; `keras.Model.evaluate` with labels as `{task: labels}`."""
        arguments = inspect.signature(keras.Model.evaluate).bind(self, x, y, *args, **kwargs).arguments
        arguments.update(arguments.pop("kwargs", {}))
        del arguments["self"]
        if arguments.get(FROM_FIT):
            return super().evaluate(**arguments)
        looks = DataLooks(self, self._training)
        looks.at_evaluation(arguments)
        self._check_compiled("evaluate")
        self._make_measures()
        with self._measuring(None), looks.own_errors():
            results = super().evaluate(**arguments)
        looks.check_first_seen(x)
        return results

    def predict(self, x: Any, *args: Any, tasks: Sequence[str] | None = None, **kwargs: Any) -> dict[str, np.ndarray]:
        """Raw predictions, `{task: array}`; `keras.Model.predict`.

        Args:
            x, args, kwargs: as of `keras.Model.predict`.
            tasks: names of the tasks to predict; no other branch is run. `None`: all.

        Raises:
            ValueError: if the images are not what the model takes, or `tasks` are no list of its tasks.
        """
        names = None if tasks is None else self._known_tasks("tasks", tasks)
        if names is not None and (not names or len(set(names)) < len(names)):
            raise ValueError(f"`tasks` must be different names, at least one, or None. Received: tasks={tasks!r}")
        arguments = {"x": x}
        looks = DataLooks(self, self._training)
        looks.at_images(arguments)
        with self._predicting(names), looks.own_errors():
            return super().predict(arguments["x"], *args, **kwargs)

    def _weigh_classes(self, class_weight: Any) -> None:
        """Takes the class weights of a call; other ones than before have the step traced anew."""
        class_weights = checked_class_weights(class_weight, self.task)
        if class_weights != self._training.class_weights:
            self._training.class_weights = class_weights
            self.train_function = None

    def _known_tasks(self, argument: str, names: Sequence[str] | None) -> list[str]:
        if isinstance(names, str):
            raise ValueError(f"`{argument}` must be a list of task names. Received: {argument}={names!r}")
        return [self.task(name).name for name in names or ()]
