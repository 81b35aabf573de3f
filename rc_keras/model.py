"""The multi-task model: a shared bank and one branch for each task."""

import collections
import inspect

import keras
from keras import ops

from rc_keras import decoders, first_batch, task_pack
from rc_keras import ops as rc_ops
from rc_keras.bank import FilterBank
from rc_keras.branch import make_branch
from rc_keras.named_weights import assign_named, named_variables
from rc_keras.names import unknown_name
from rc_keras.parameter_report import parameter_report
from rc_keras.per_task_optimizer import PerTaskOptimizer
from rc_keras.task import Task


@keras.saving.register_keras_serializable(package="rc_keras")
class MultiTaskModel(keras.Model):
    """Tasks on one frozen filter bank: fit, add, save, load and export them without disturbing each other.

    Made by `rc_keras.build`. Batches for `fit` and `evaluate` are `(images, {task: labels})`. `fit` trains the tasks
    that are in `trainable_tasks` and have a key in the labels; the branches of other tasks are not run and no bit of
    them moves. Each task has its own optimizer state: momentum, weight decay, schedules, clipping and loss scaling act
    within a task only.

    Args:
        bank: the `FilterBank`; its template answers `{"low_level": map, "high_level": map}`.
        seed: base of everything random, together with the names of task and layer.

    Call arguments:
        images: RGB in 0..255, `(batch, height, width, channels)`, uint8 or float.
        training: whether norms use, and move by, the statistics of the batch; only in trainable tasks.
        tasks: names of the branches to run; `None`: all.

    Returns:
        `{task: raw prediction}`, see `Task`.
    """

    def __init__(self, bank, seed=0, name="multi_task_model"):
        super().__init__(name=name)
        self.seed = seed
        # Held where Keras neither tracks nor saves: layers are listed below, weights are saved by name.
        self._held = _Held(bank)
        self._list_layers()
        self.built = True

    # Tasks

    @property
    def bank(self):
        """The `FilterBank`."""
        return self._held.bank

    @property
    def tasks(self):
        """Names of the tasks, in the order they were added."""
        return list(self._held.tasks)

    def task(self, name):
        """The `Task` of a name."""
        return self._held.tasks[self._known(name)]

    def branch(self, name):
        """The functional `keras.Model` of a task, on the shared bank."""
        return self._held.branches[self._known(name)]

    def decoder(self, name):
        """The decoder a task was added with."""
        return self._held.decoders[self._known(name)]

    @property
    def image_shape(self):
        """`(height, width, channels)` of the input, `None` where it is free."""
        return tuple(self.bank.template.inputs[0].shape[1:])

    @property
    def trainable_tasks(self):
        """Names of the tasks that `fit` trains where it finds their labels."""
        return [name for name in self.tasks if name in self._held.trainable]

    @trainable_tasks.setter
    def trainable_tasks(self, names):
        if isinstance(names, str):
            raise ValueError(f"`trainable_tasks` must be a list of task names. Received: {names!r}")
        self._held.trainable = {self._known(name) for name in names}
        self._forget_functions()

    def add_task(self, task, decoder=None):
        """Adds a task; afterwards only this one is trainable, until `trainable_tasks` is set.

        Args:
            task: a `Task`, or a name in the catalogue.
            decoder: see `rc_keras.build`; `None`: as the first task has.

        Raises:
            ValueError: if the name is unknown, illegal, or taken.
        """
        task = Task.get(task)
        self._new_task(task, decoder)
        self.trainable_tasks = [task.name]

    def remove_task(self, name):
        """Removes a task with its branch and its optimizer state; the last one cannot be removed."""
        self._known(name)
        if len(self.tasks) == 1:
            raise ValueError(f"A model must keep at least one task. Received: remove_task({name!r}), which is the last")
        for mapping in (self._held.tasks, self._held.branches, self._held.decoders):
            del mapping[name]
        self._held.trainable.discard(name)
        self._discard(name)
        self._list_layers()

    def save_task(self, name, path):
        """Writes one task to a `.rctask` file, see `task_pack.save`."""
        task_pack.save(self, self._known(name), path)

    def load_task(self, path, overwrite=False):
        """Adds the task of a `.rctask` file; `trainable_tasks` stays as it is.

        Args:
            path: the file.
            overwrite: whether a task of the same name is replaced; otherwise that is an error.

        Returns:
            The name of the task.

        Raises:
            ValueError: if the file is no task pack, is damaged, belongs to another bank or method, or holds a task that
                is there already. The model is left as it was.
        """
        task, decoder, branch = task_pack.load(self, path, overwrite)
        self._install(task, decoder, branch)
        return task.name

    def parameter_report(self):
        """The `ParameterReport`: what is shared and what each task adds."""
        return parameter_report(self.bank, self._held.branches)

    def export(self, path, format=None, **options):
        """Writes the model for deployment, verified in the runtime it is meant for.

        Args:
            path: the file. Its suffix gives the format.
            format: `"litert"` (`.tflite`), instead of the suffix.
            options: see `rc_keras.export.litert`.

        Returns:
            The `ExportReport`.
        """
        from rc_keras import export  # export builds on this package, not the other way round

        return export.export(self, path, format, **options)

    def _known(self, name):
        if name not in self._held.tasks:
            raise unknown_name("task", name, self._held.tasks)
        return name

    def _new_task(self, task, decoder=None):
        if task.name in self._held.tasks:
            raise ValueError(f"Task names must be unique. Received: {task.name!r}, which the model already has")
        if decoder is None:
            decoder = next(iter(self._held.decoders.values()), "deeplabv3plus")
        decoder = decoders.get(decoder)
        self._install(task, decoder, make_branch(self.bank, task, decoder, self.seed))

    def _install(self, task, decoder, branch):
        """Puts a branch in its place; a task of the same name goes, with its optimizer state and its metrics."""
        self._discard(task.name)
        self._held.tasks[task.name] = task
        self._held.decoders[task.name] = decoder
        self._held.branches[task.name] = branch
        self._list_layers()

    def _discard(self, name):
        self._held.measures.pop(name, None)
        if isinstance(getattr(self, "optimizer", None), PerTaskOptimizer):
            self.optimizer.forget(name)

    def _list_layers(self):
        """Shows Keras the layers of the model, so that it finds their variables."""
        self._layers[:] = [self.bank.template, *self._held.branches.values()]
        self._forget_functions()

    def _forget_functions(self):
        self.train_function = self.test_function = self.predict_function = None

    @property
    def layers(self):
        """The bank's template and the branches, read-only."""
        return _Layers(self._layers)

    # Forward

    def call(self, images, training=None, tasks=None):
        first_batch.check_image_spec(images, self.image_shape)
        names = self.tasks if tasks is None else [self._known(name) for name in tasks]
        return {
            name: self.branch(name)(images, training=bool(training) and name in self._held.trainable) for name in names
        }

    # Variables. A task is frozen by not being in `trainable_tasks`; `trainable` flags are the user's.

    @property
    def trainable(self):
        return self._trainable

    @trainable.setter
    def trainable(self, value):
        self._trainable = bool(value)

    @property
    def trainable_variables(self):
        if not self.trainable:
            return []
        return [v for name in self.trainable_tasks for v in self.branch(name).trainable_variables]

    @property
    def non_trainable_variables(self):
        trainable = {id(v) for v in self.trainable_variables}
        return [v for v in self.variables if id(v) not in trainable]

    @property
    def trainable_weights(self):
        return self.trainable_variables

    @property
    def non_trainable_weights(self):
        trainable = {id(v) for v in self.trainable_variables}
        return [v for v in self.weights if id(v) not in trainable]

    # Training

    def compile(self, optimizer="rmsprop", loss=None, metrics=None, loss_weights=None, **kwargs):
        """Configures the model for `fit`.

        Losses, loss weights and metrics are the tasks' own where they are not given. Compiling again with the
        optimizer that is in place keeps its state.

        Args:
            optimizer: a `keras.optimizers.Optimizer` or a name. Every task gets its own copy of it, with the learning
                rate in common.
            loss: `{task: keras.losses.Loss or function}`, or `None`.
            metrics: `{task: [keras.metrics.Metric]}`, or `None`.
            loss_weights: `{task: number}`, or `None`.
            kwargs: `run_eagerly`, `steps_per_execution`, `jit_compile`, `auto_scale_loss` as in `keras.Model.compile`.
        """
        overrides = {"loss": loss, "metrics": metrics, "loss_weights": loss_weights}
        for argument, mapping in overrides.items():
            if mapping is not None and not isinstance(mapping, dict):
                raise ValueError(f"`{argument}` must be a dict with task names as keys. Received: {mapping!r}")
            for name in mapping or ():
                self._known(name)
        previous = getattr(self, "optimizer", None)
        super().compile(optimizer=optimizer, **kwargs)
        if not (isinstance(previous, PerTaskOptimizer) and previous.prototype is self.optimizer):
            previous = None
        self.optimizer = previous or PerTaskOptimizer(self.optimizer)
        self._held.overrides = {argument: dict(mapping or {}) for argument, mapping in overrides.items()}
        self._held.compile_options = {k: v for k, v in kwargs.items() if k != "auto_scale_loss"}
        self._held.measures.clear()

    def get_compile_config(self):
        if not self.compiled:
            return {}
        return {
            "optimizer": keras.saving.serialize_keras_object(self.optimizer.prototype),
            "optimized_tasks": self.optimizer.tasks,
            "overrides": keras.saving.serialize_keras_object(self._held.overrides),
            "options": dict(self._held.compile_options),
        }

    def compile_from_config(self, config):
        overrides = keras.saving.deserialize_keras_object(config["overrides"])
        self.compile(
            optimizer=keras.saving.deserialize_keras_object(config["optimizer"]),
            auto_scale_loss=False,  # the saved optimizer is wrapped already where it should be
            **overrides,
            **config["options"],
        )
        for name in config["optimized_tasks"]:
            self.optimizer.of(name, self.branch(name).trainable_variables)

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
            restored, _ = self._look_at(dict(zip(("x", "y", "sample_weight"), unpacked, strict=True)), self.tasks)
            if unpacked[1] is None:
                arguments["validation_data"] = restored
        self._prepare(names)
        return super().fit(**arguments)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        """Measures the tasks that have labels; `keras.Model.evaluate` with labels as `{task: labels}`."""
        arguments = inspect.signature(keras.Model.evaluate).bind(self, x, y, *args, **kwargs).arguments
        arguments.update(arguments.pop("kwargs", {}))
        del arguments["self"]
        if not arguments.get("_use_cached_eval_dataset"):
            arguments["x"], names = self._look_at(arguments, self.tasks)
            self._assert_compile_called("evaluate")
            self._make_measures(names or self.tasks)
        return super().evaluate(**arguments)

    def predict(self, x, *args, **kwargs):
        """Raw predictions of all tasks, `{task: array}`; `keras.Model.predict`."""
        x, batch = first_batch.peek(x)
        if batch is not None:
            first_batch.check_images(_images(batch), self.image_shape)
        return super().predict(x, *args, **kwargs)

    def _look_at(self, arguments, candidates):
        """Checks the first batch of data; returns the data to use and the names of the candidates that have labels."""
        x, batch = first_batch.peek(
            arguments.get("x"), arguments.get("y"), arguments.get("sample_weight"), arguments.get("batch_size")
        )
        if batch is None:
            return x, None
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
        for name in names or self.trainable_tasks:
            self.optimizer.of(name, self.branch(name).trainable_variables)
        self._make_measures(names or self.trainable_tasks)

    def _symbolic_build(self, iterator=None, data_batch=None):
        """Keras's hook before the first step: branches are built already, states and metrics are not."""
        if data_batch is not None:
            labels = keras.utils.unpack_x_y_sample_weight(data_batch)[1]
            self._make_measures(self._labelled(labels, self.tasks))

    def _make_measures(self, names):
        for name in names:
            if name in self._held.measures:
                continue
            task = self.task(name)
            metrics = self._held.overrides["metrics"].get(name)
            metrics = task.make_metrics() if metrics is None else metrics
            loss = self._held.overrides["loss"].get(name)
            self._held.measures[name] = _Measures(
                loss=task.make_loss() if loss is None else _loss_object(loss),
                weight=float(self._held.overrides["loss_weights"].get(name, task.loss_weight)),
                tracker=keras.metrics.Mean(name=f"{name}_loss"),
                metrics=[
                    type(metric).from_config({**metric.get_config(), "name": f"{name}_{metric.name}"})
                    for metric in metrics
                ],
            )

    @property
    def metrics(self):
        if not self.compiled:
            return []
        metrics = [self._loss_tracker]
        for measures in self._held.measures.values():
            metrics += [measures.tracker, *measures.metrics]
        return metrics

    def get_metrics_result(self):
        return self._results(self._held.measured)

    def _results(self, names):
        measures = [self._held.measures[name] for name in names]
        metrics = [self._loss_tracker, *(m.tracker for m in measures)]
        metrics += [metric for m in measures for metric in m.metrics]
        return {metric.name: metric.result() for metric in metrics}

    def train_step(self, *args):
        """One step: task after task, each with its own gradients and its own optimizer state."""
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
        losses, gradients = [], []
        for name in names:
            branch = self.branch(name)
            variables = branch.trainable_variables
            optimizer = self.optimizer.of(name, variables)
            loss_scale = optimizer.scale_loss(ops.ones(()))
            # Waiting for the previous task's gradients keeps the memory of a joint step at that of one task.
            inputs = rc_ops.after(images, gradients)

            def forward(name=name, branch=branch, inputs=inputs, loss_scale=loss_scale):
                prediction = branch(inputs, training=True)
                loss, weighted = self._loss(name, labels, prediction, sample_weight)
                return weighted * loss_scale, (prediction, loss, weighted)

            (prediction, loss, weighted), gradients = rc_ops.value_and_gradients(
                forward, variables, branch.non_trainable_variables
            )
            self.optimizer.apply_task(name, gradients, variables)
            self._measure(name, labels, prediction, loss)
            losses.append(weighted)
        return self._finish(names, images, losses)

    def _test(self, data):
        images, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        names = self._labelled(labels, self.tasks)
        self._make_measures(names)
        losses = []
        for name in names:
            prediction = self.branch(name)(images, training=False)
            loss, weighted = self._loss(name, labels, prediction, sample_weight)
            self._measure(name, labels, prediction, loss)
            losses.append(weighted)
        return self._finish(names, images, losses)

    def _loss(self, name, labels, prediction, sample_weight):
        """The task's loss, and what is differentiated: the weighted loss plus the branch's regularization."""
        measures = self._held.measures[name]
        weight = sample_weight.get(name) if isinstance(sample_weight, dict) else sample_weight
        loss = measures.loss(labels[name], prediction, sample_weight=weight)
        weighted = loss * measures.weight
        for regularization in self.branch(name).losses:
            weighted = weighted + ops.sum(regularization)
        return loss, weighted

    def _measure(self, name, labels, prediction, loss):
        measures = self._held.measures[name]
        measures.tracker.update_state(loss, sample_weight=ops.shape(prediction)[0])
        for metric in measures.metrics:
            metric.update_state(labels[name], prediction)

    def _finish(self, names, images, losses):
        self._loss_tracker.update_state(sum(losses), sample_weight=ops.shape(images)[0])
        self._held.measured = names
        return self._results(names)

    # Saving

    def save_own_variables(self, store):
        for name, variable in self._named_variables().items():
            store[name] = ops.convert_to_numpy(variable)

    def load_own_variables(self, store):
        variables = self._named_variables()
        assign_named(variables, {name: store[name] for name in store.keys()}, "the file")  # noqa: SIM118

    def _named_variables(self):
        layers = [layer for model in self._layers for layer in model.layers]
        return {name.replace("/", "."): variable for name, variable in named_variables(layers).items()}

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "seed": self.seed,
            "method": self.bank.method.name,
            "template": serialize(self.bank.template),
            "tasks": [serialize(task) for task in self._held.tasks.values()],
            "decoders": [serialize(decoder) for decoder in self._held.decoders.values()],
            "trainable_tasks": self.trainable_tasks,
        }

    @classmethod
    def from_config(cls, config):
        deserialize = keras.saving.deserialize_keras_object
        bank = FilterBank.from_template(deserialize(config["template"]), config["method"])
        model = cls(bank, seed=config["seed"], name=config["name"])
        for task, decoder in zip(config["tasks"], config["decoders"], strict=True):
            model._new_task(deserialize(task), decoder)
        model.trainable_tasks = config["trainable_tasks"]
        return model


class _Layers(collections.abc.Sequence):
    """A sequence that is not a list: Keras saves the lists it finds in a model, and weights would be stored twice."""

    def __init__(self, layers):
        self._list = layers

    def __getitem__(self, index):
        return self._list[index]

    def __len__(self):
        return len(self._list)


class _Held:
    """What the model owns besides Keras's own attributes."""

    def __init__(self, bank):
        self.bank = bank
        self.tasks, self.branches, self.decoders = {}, {}, {}
        self.trainable = set()
        self.overrides, self.compile_options = {}, {}
        self.measures = {}  # {task: _Measures}, of the tasks that were trained or evaluated since `compile`
        self.measured = []  # the tasks of the last step


class _Measures:
    """Loss, loss weight and metrics of one task."""

    def __init__(self, loss, weight, tracker, metrics):
        self.loss = loss
        self.weight = weight
        self.tracker = tracker
        self.metrics = metrics


class FunctionLoss(keras.losses.Loss):
    """A loss function of Keras or the user, with the reduction of a `Loss`."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, y_true, y_pred):
        return self.function(y_true, y_pred)


def _loss_object(loss):
    loss = keras.losses.get(loss)
    return loss if isinstance(loss, keras.losses.Loss) else FunctionLoss(loss)


def _images(batch):
    return keras.utils.unpack_x_y_sample_weight(batch)[0]


def _stateless(step, groups, state, data):
    """Runs a step as JAX wants it: variables come in as values, and go out as values."""
    mapping = [pair for group, values in zip(groups, state, strict=True) for pair in zip(group, values, strict=True)]
    with keras.StatelessScope(state_mapping=mapping) as scope:
        logs = step(data)
        state = tuple([scope.get_current_value(v) for v in group] for group in groups)
    return logs, state
