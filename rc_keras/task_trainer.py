"""Training of a model of several tasks, apart, or jointly in what they share."""

import inspect

import keras
from keras import ops

from rc_keras import first_batch
from rc_keras import ops as rc_ops
from rc_keras.per_task_optimizer import JOINT, PerTaskOptimizer
from rc_keras.task_measures import TaskMeasures


class TaskTrainer(keras.Model):
    """`compile`, `fit`, `evaluate` and `predict` for labels `{task: labels}`.

    Keras's own steps refuse missing labels, and an optimizer that meets new variables. Here the tasks of a step are
    those that have labels, and each has its own gradients and optimizer state. Where tasks have variables in common
    that they train jointly, a step sums their gradients there, and those variables have an optimizer state too.

    A subclass answers `tasks`, `trainable_tasks`, `task(name)`, `branch(name)`, `image_shape`, `jointly_trained` and,
    where that is not empty, `joint_branch(names)`, see `MultiTaskModel`.
    """

    def __init__(self, name, dtype=None):
        super().__init__(name=name, dtype=dtype)
        # Held where Keras neither tracks nor saves it: measures come and go with the tasks.
        self._training = _Training()

    def compile(
        self,
        optimizer="rmsprop",
        loss=None,
        loss_weights=None,
        metrics=None,
        run_eagerly=False,
        steps_per_execution=1,
        jit_compile="auto",
        auto_scale_loss=True,
    ):
        """Configures the model for `fit`.

        Losses, loss weights and metrics are the tasks' own where they are not given. Compiling again with the
        optimizer that is in place keeps its state.

        Args:
            optimizer: a `keras.optimizers.Optimizer` or a name. Every task gets its own copy of it, with the learning
                rate in common.
            loss: `{task: keras.losses.Loss or function}`, or `None`.
            loss_weights: `{task: number}`, or `None`.
            metrics: `{task: [keras.metrics.Metric or name]}`, or `None`.
            run_eagerly, steps_per_execution, jit_compile, auto_scale_loss: as in `keras.Model.compile`.
        """
        if isinstance(optimizer, dict) and "class_name" not in optimizer:
            raise ValueError(f"`optimizer` must be one for all tasks, or its name. Received: optimizer={optimizer!r}")
        overrides = {"loss": loss, "metrics": metrics, "loss_weights": loss_weights}
        for argument, mapping in overrides.items():
            if mapping is not None and not isinstance(mapping, dict):
                raise ValueError(f"`{argument}` must be a dict with task names as keys. Received: {mapping!r}")
            for name in mapping or ():
                self.task(name)
        for name, chosen in (metrics or {}).items():
            if not isinstance(chosen, (list, tuple)):
                raise ValueError(f"`metrics` must have lists as values. Received: {chosen!r} for task {name!r}")
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

    def get_compile_config(self):
        if not self.compiled:
            return {}
        return {
            "optimizer": keras.saving.serialize_keras_object(self.optimizer.prototype),
            "overrides": keras.saving.serialize_keras_object(self._training.overrides),
            "options": dict(self._training.options),
        }

    def compile_from_config(self, config):
        overrides = keras.saving.deserialize_keras_object(config["overrides"])
        self.compile(
            optimizer=keras.saving.deserialize_keras_object(config["optimizer"]),
            auto_scale_loss=False,  # the saved optimizer is wrapped already where it should be
            **overrides,
            **config["options"],
        )

    def fit(self, x=None, y=None, *args, **kwargs):
        """Trains; `keras.Model.fit` with labels as `{task: labels}`.

        The first batch, of the validation data too, is checked on the host before anything is trained.
        """
        arguments = inspect.signature(keras.Model.fit).bind(self, x, y, *args, **kwargs).arguments
        del arguments["self"]
        if hasattr(x, "element_spec"):
            arguments.setdefault("shuffle", False)  # Keras warns about its own default, which a tf.data.Dataset ignores
        arguments["x"], names = self._look_at(arguments, self.trainable_tasks)
        validation = arguments.get("validation_data")
        if validation is not None:
            unpacked = keras.utils.unpack_x_y_sample_weight(validation)
            looked_at = dict(zip(("x", "y", "sample_weight"), unpacked, strict=True))
            restored, measured = self._look_at(looked_at, self.tasks)
            self._training.measured = measured or self._training.measured
            if unpacked[1] is None:
                arguments["validation_data"] = restored
        self._prepare(names)
        self._training.running = True
        try:
            return super().fit(**arguments)
        finally:
            self._training.running = False
            for measures in self._training.measures.values():
                measures.restore_weight()  # what a callback made of it ends with `fit`, however that ends

    def train_on_batch(self, x, y=None, *args, **kwargs):
        """One step on one batch; `keras.Model.train_on_batch` with labels as `{task: labels}`."""
        self._prepare(self._labelled(y, self.trainable_tasks))
        return super().train_on_batch(x, y, *args, **kwargs)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        """Measures the tasks that have labels; `keras.Model.evaluate` with labels as `{task: labels}`."""
        arguments = inspect.signature(keras.Model.evaluate).bind(self, x, y, *args, **kwargs).arguments
        arguments.update(arguments.pop("kwargs", {}))
        del arguments["self"]
        if not arguments.get("_use_cached_eval_dataset"):
            arguments["x"], measured = self._look_at(arguments, self.tasks)
            self._training.measured = measured or self._training.measured
            self._assert_compile_called("evaluate")
            self._make_measures()
        return super().evaluate(**arguments)

    def predict(self, x, *args, **kwargs):
        """Raw predictions of all tasks, `{task: array}`; `keras.Model.predict`."""
        x, batch = first_batch.peek(x)
        if batch is not None:
            first_batch.check_images(keras.utils.unpack_x_y_sample_weight(batch)[0], self.image_shape)
        return super().predict(x, *args, **kwargs)

    def _look_at(self, arguments, candidates):
        """Checks the first batch of data; returns the data to use and the names of the candidates that have labels."""
        x, batch = first_batch.peek(
            arguments.get("x"), arguments.get("y"), arguments.get("sample_weight"), arguments.get("batch_size")
        )
        if batch is None:
            spec = getattr(x, "element_spec", None)
            labels = keras.utils.unpack_x_y_sample_weight(spec)[1] if isinstance(spec, tuple) else None
            return x, None if labels is None else self._labelled(labels, candidates)
        images, labels, _ = keras.utils.unpack_x_y_sample_weight(batch)
        names = self._labelled(labels, candidates)
        first_batch.check_images(images, self.image_shape)
        for name in names:
            self.task(name).check_labels(labels[name], tuple(images.shape))
        return x, names

    def _labelled(self, labels, candidates):
        if not isinstance(labels, dict):
            raise ValueError(f"Labels must be a dict {{task: labels}}. Received: {type(labels).__name__}")
        names = [name for name in candidates if name in labels]
        if not names:
            raise ValueError(f"Labels must hold one of the tasks {candidates}. Received: keys {sorted(labels)}")
        return names

    def _prepare(self, names):
        """Makes the optimizer states and the metrics that a step with these tasks needs."""
        self._assert_compile_called("fit")
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

    def _own_variables(self, name):
        """The variables that only this task trains."""
        joint = {id(v) for v in self.jointly_trained}
        return [v for v in self.branch(name).trainable_variables if id(v) not in joint]

    def _symbolic_build(self, iterator=None, data_batch=None):
        """Keras's hook before the first step: all is built by now, but the metrics of `test_on_batch`."""
        self._make_measures()

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """As above; Keras 3.15's own fails with several workers (keras#20585). This can go when that is fixed."""
        self._make_measures()

    def make_train_function(self, force=False):
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

    def make_test_function(self, force=False):
        """See `make_train_function`."""
        if self.test_function is None or force:
            super().make_test_function(force)
            self.test_function = self._with_logs(self.test_function, lambda: self._training.measured)
        return self.test_function

    def _with_logs(self, step_function, names):
        with self._scope():
            if rc_ops.replica_count() == 1:
                return step_function
        return rc_ops.with_logs_of_all_replicas(step_function, self._results, names)

    def _scope(self):
        """The `tf.distribute` strategy the model was made under, for what is made later."""
        return rc_ops.scope_of(getattr(self, "_distribute_strategy", None))

    def _make_measures(self):
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

    def variable_loss_weights(self):
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
    def loss_weight_variables(self):
        """Those made by `variable_loss_weights`; a model lists them among its `non_trainable_variables`."""
        weights = [measures.weight_variable for measures in self._training.measures.values()]
        return [weight for weight in weights if weight is not None]

    def _forget_task(self, name):
        """Drops the optimizer state, the measures and what `compile` was given for a task."""
        self._training.measures.pop(name, None)
        for mapping in self._training.overrides.values():
            mapping.pop(name, None)
        if isinstance(getattr(self, "optimizer", None), PerTaskOptimizer):
            self.optimizer.forget(name)

    def _forget_functions(self):
        """Makes Keras trace its steps anew."""
        if self._training.running:
            raise RuntimeError("Tasks must not be added, removed, loaded, frozen or thawed while `fit` runs.")
        self.train_function = self.test_function = self.predict_function = None

    @property
    def metrics(self):
        if not self.compiled:
            return []
        return [self._loss_tracker, *(m for measures in self._training.measures.values() for m in measures.metrics)]

    def get_metrics_result(self):
        """Results of all tasks; a metric of several numbers gives `<task>_<number>` for each."""
        return self._results(self._training.measures)

    def _get_metrics_result_or_logs(self, logs):
        """Keras's hook at the end of an epoch: the logs of its last step are those of all its steps."""
        return logs

    def _results(self, names):
        results = {self._loss_tracker.name: self._loss_tracker.result()}
        for name in names:
            results |= self._training.measures[name].results()
        return results

    def train_step(self, *args):
        """One step: task after task, each with its own gradients and its own optimizer state, or all tasks at once."""
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

    def test_step(self, *args):
        """Losses and metrics of the tasks that have labels."""
        if keras.backend.backend() == "jax":
            state, data = args
            groups = (self.trainable_variables, self.non_trainable_variables, self.metrics_variables)
            return _stateless(self._test, groups, state, data)
        return self._test(*args)

    def _train(self, data):
        images, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        names = self._labelled(labels, self.trainable_tasks)
        self._prepare(names)
        if self.jointly_trained:
            return self._train_jointly(names, images, labels, sample_weight)
        losses, gradients = [], []
        for name in names:
            branch = self.branch(name)
            variables = branch.trainable_variables
            optimizer = self.optimizer.of(name, variables)
            loss_scale = optimizer.scale_loss(ops.ones(()))
            weight = self._training.measures[name].current_weight()
            # Waiting for the previous task's gradients keeps the memory of a joint step at that of one task.
            inputs = rc_ops.after(images, gradients)

            def forward(name=name, branch=branch, inputs=inputs, loss_scale=loss_scale, weight=weight):
                prediction = branch(inputs, training=True)
                loss = self._loss(name, labels, prediction, sample_weight)
                weighted = self._with_regularization(loss * weight, branch)
                return weighted * loss_scale, (prediction, loss, weighted)

            (prediction, loss, weighted), gradients = rc_ops.value_and_gradients(
                forward, variables, branch.non_trainable_variables
            )
            gradients = rc_ops.sum_over_replicas(gradients)
            loss, weighted = rc_ops.sum_over_replicas([loss, weighted])
            self.optimizer.apply_task(name, gradients, variables)
            self._training.measures[name].update(labels[name], prediction, loss)
            losses.append(weighted)
        return self._finish(names, images, losses)

    def _train_jointly(self, names, images, labels, sample_weight):
        """One step on all tasks at once: what they share moves by the sum of their gradients."""
        branch, joint = self.joint_branch(names), self.jointly_trained
        groups = {JOINT: joint, **{name: self._own_variables(name) for name in names}}
        variables = [v for group in groups.values() for v in group]
        scales = {name: self.optimizer.of(name, group).scale_loss(ops.ones(())) for name, group in groups.items()}

        def forward():
            predictions = branch(images, training=True)
            losses, total = self._joint_losses(names, branch, predictions, labels, sample_weight)
            return total * scales[JOINT], (predictions, losses, total)

        (predictions, losses, total), gradients = rc_ops.value_and_gradients(
            forward, variables, branch.non_trainable_variables
        )
        gradients = iter(rc_ops.sum_over_replicas(gradients))
        *losses, total = rc_ops.sum_over_replicas([*losses, total])
        for name, group in groups.items():
            own = [next(gradients) for _ in group]
            if name != JOINT:  # an optimizer takes its own loss scale out again
                own = [g if g is None else g * (scales[name] / scales[JOINT]) for g in own]
            self.optimizer.apply_task(name, own, group)
        for name, loss in zip(names, losses, strict=True):
            self._training.measures[name].update(labels[name], predictions[name], loss)
        return self._finish(names, images, [total])

    def _joint_losses(self, names, branch, predictions, labels, sample_weight):
        """The losses of tasks, in their order, and their weighted sum with the regularization of the joint branch."""
        losses = [self._loss(name, labels, predictions[name], sample_weight) for name in names]
        weights = [self._training.measures[name].current_weight() for name in names]
        total = sum(loss * weight for loss, weight in zip(losses, weights, strict=True))
        return losses, self._with_regularization(total, branch)

    def _test_jointly(self, names, images, labels, sample_weight):
        """The losses and metrics of all tasks at once."""
        branch = self.joint_branch(names)
        predictions = branch(images, training=False)
        losses, total = self._joint_losses(names, branch, predictions, labels, sample_weight)
        *losses, total = rc_ops.sum_over_replicas([*losses, total])
        for name, loss in zip(names, losses, strict=True):
            self._training.measures[name].update(labels[name], predictions[name], loss)
        return self._finish(names, images, [total])

    def _test(self, data):
        images, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        names = self._training.measured = self._labelled(labels, self.tasks)
        self._make_measures()
        if self.jointly_trained:
            return self._test_jointly(names, images, labels, sample_weight)
        losses = []
        for name in names:
            prediction = self.branch(name)(images, training=False)
            loss = self._loss(name, labels, prediction, sample_weight)
            weight = self._training.measures[name].current_weight()
            weighted = self._with_regularization(loss * weight, self.branch(name))
            loss, weighted = rc_ops.sum_over_replicas([loss, weighted])
            self._training.measures[name].update(labels[name], prediction, loss)
            losses.append(weighted)
        return self._finish(names, images, losses)

    def _loss(self, name, labels, prediction, sample_weight):
        """The task's loss; with several replicas the share of one replica, which add up."""
        weight = sample_weight.get(name) if isinstance(sample_weight, dict) else sample_weight
        return self._training.measures[name].loss(labels[name], prediction, sample_weight=weight)

    def _with_regularization(self, loss, branch):
        """What is differentiated: a weighted loss plus the regularization of a branch, a share of one replica."""
        for regularization in branch.losses:
            loss = loss + ops.sum(regularization) / rc_ops.replica_count()
        return loss

    def _finish(self, names, images, losses):
        self._loss_tracker.update_state(sum(losses), sample_weight=ops.shape(images)[0])
        if rc_ops.in_replica():
            # One replica knows only its own part; the logs are read where all are known. Keras wants some tensor here.
            return {"loss": ops.zeros((1,))}
        return self._results(names)


class _Training:
    """What `compile` was given besides the optimizer, and what `fit` and `evaluate` measure."""

    def __init__(self):
        self.overrides, self.options = {}, {}
        self.measures = {}  # {task: TaskMeasures}
        self.running = False  # whether `fit` runs
        self.trained, self.measured = [], []  # names of the tasks that the data of `fit` and `evaluate` has labels of


def _stateless(step, groups, state, data):
    """Runs a step as JAX wants it: variables come in as values, and go out as values."""
    mapping = [pair for group, values in zip(groups, state, strict=True) for pair in zip(group, values, strict=True)]
    with keras.StatelessScope(state_mapping=mapping) as scope:
        logs = step(data)
        state = tuple([scope.get_current_value(v) for v in group] for group in groups)
    return logs, state
