"""The multi-task model: a shared bank and one branch for each task."""

import collections
import contextlib
import os
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from rc_keras import decoders
from rc_keras.base.keras_types import Tensor
from rc_keras.base.names import unknown_name
from rc_keras.files.named_weights import assign_named, named_variables
from rc_keras.files.whole_files import whole_file
from rc_keras.network.bank import FilterBank
from rc_keras.network.branch import frozen_layers, make_branch
from rc_keras.network.graft import is_trained_by_all
from rc_keras.reports.mac_count import MacReport, mac_report
from rc_keras.reports.parameter_report import ParameterReport, parameter_report
from rc_keras.storage import preset, task_pack
from rc_keras.tasks.task import Task
from rc_keras.training import first_batch
from rc_keras.training.task_trainer import TaskTrainer

if TYPE_CHECKING:
    from rc_keras.export.report import ExportReport


@keras.saving.register_keras_serializable(package="rc_keras")
class MultiTaskModel(TaskTrainer):
    """Tasks on one frozen filter bank: fit, add, save, load and export them without disturbing each other.

    With the methods `multi_task`, `fine_tune` and `squeeze_excite` the tasks share an encoder that they train instead
    (see `rc_keras.methods.Method`): then training one does change the others.

    Made by `rc_keras.build`. Batches for `fit` and `evaluate` are `(images, {task: labels})`. `fit` trains the tasks
    that are in `trainable_tasks` and have a key in the labels; the branches of other tasks are not run and no bit of
    them moves. Each task has its own optimizer state: momentum, weight decay, schedules, clipping and loss scaling act
    within a task only.

    Freezing by `trainable_tasks` holds for this model, not for one it is nested in: there use `branch(name)`.

    Args:
        bank: the `FilterBank`; its template answers `{"low_level": map, "high_level": map}`.
        seed: base of everything random, together with the names of task and layer.
        dtype: the dtype policy of decoders; `None`: the global one.

    Call arguments:
        images: RGB in 0..255, `(batch, height, width, channels)`, uint8 or float.
        training: whether norms use, and move by, the statistics of the batch; only in trainable tasks.
        tasks: names of the branches to run; `None`: all.

    Returns:
        `{task: raw prediction}`, see `Task`.
    """

    def __init__(self, bank: FilterBank, seed: int = 0, name: str = "multi_task_model", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.seed = seed
        # Held where Keras neither tracks nor saves: layers are listed below, weights are saved by name.
        self._held = _Held(bank)
        self._list_layers()
        self.built = True

    # Tasks

    @property
    def bank(self) -> FilterBank:
        """The `FilterBank`."""
        return self._held.bank

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks, in the order they were added."""
        return list(self._held.tasks)

    def task(self, name: str) -> Task:
        """The `Task` of a name."""
        return self._held.tasks[self._known(name)]

    def branch(self, name: str) -> keras.Model:
        """The functional `keras.Model` of a task, on the shared bank."""
        return self._held.branches[self._known(name)]

    def joint_branch(self, names: Iterable[str]) -> keras.Model:
        """The branches of several tasks as one model, `{task: raw prediction}`.

        Only where tasks share an encoder that they train. With `multi_task` and `fine_tune` it is computed once.
        """
        joint = self._held.joint
        if tuple(names) not in joint:
            branches = {name: self.branch(name) for name in names}
            image = self.bank.template.inputs[0]
            joint[tuple(names)] = keras.Model(image, {name: branch.output for name, branch in branches.items()})
        return joint[tuple(names)]

    @property
    def jointly_trained(self) -> list[keras.Variable]:
        """Trainable variables in which a step sums the gradients of its tasks; none with a frozen bank."""
        if not self.bank.method.joint_steps:
            return []
        layers = [layer for layer in self.bank.template.layers if is_trained_by_all(layer, self.bank.method)]
        return [v for layer in layers for v in layer.trainable_variables]

    def decoder(self, name: str) -> Callable[..., keras.KerasTensor]:
        """The decoder a task was added with."""
        return self._held.decoders[self._known(name)]

    @property
    def image_shape(self) -> tuple[int | None, ...]:
        """`(height, width, channels)` of the input, `None` where it is free."""
        return tuple(self.bank.template.inputs[0].shape[1:])

    @property
    def trainable_tasks(self) -> list[str]:
        """Names of the tasks that `fit` trains where it finds their labels."""
        return [name for name in self.tasks if name in self._held.trainable]

    @trainable_tasks.setter
    def trainable_tasks(self, names: Iterable[str]) -> None:
        if isinstance(names, str):
            raise ValueError(f"`trainable_tasks` must be a list of task names. Received: {names!r}")
        self._held.trainable = {self._known(name) for name in names}
        self._forget_functions()

    def add_task(self, task: str | Task, decoder: str | Callable[..., keras.KerasTensor] | None = None) -> None:
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

    def remove_task(self, name: str) -> None:
        """Removes a task with its branch and its optimizer state; the last one cannot be removed."""
        self._known(name)
        if len(self.tasks) == 1:
            raise ValueError(f"A model must keep at least one task. Received: remove_task({name!r}), which is the last")
        for mapping in (self._held.tasks, self._held.branches, self._held.decoders):
            del mapping[name]
        self._held.trainable.discard(name)
        self._forget_task(name)
        self._list_layers()

    def save_task(self, name: str, path: str | os.PathLike) -> None:
        """Writes one task to a `.rctask` file, see `task_pack.save`."""
        task_pack.save(self, self._known(name), path)

    def load_task(self, path: str | os.PathLike, overwrite: bool = False) -> str:
        """Adds the task of a `.rctask` file; `trainable_tasks` stays as it is.

        Args:
            path: the file.
            overwrite: whether a task of the same name is replaced; otherwise that is an error.

        Returns:
            The name of the task.

        Raises:
            ValueError: if the file is no task pack, is damaged, belongs to another bank or method, or holds a task that
                is there already, or if the model's method shares an encoder that trains. The model is left as it was.
        """
        with self._scope():
            task, decoder, branch = task_pack.load(self, path, overwrite)
        self._install(task, decoder, branch)
        return task.name

    def save_to_preset(self, directory: str | os.PathLike) -> None:
        """Writes the model to a folder, the bank and every task in a file of its own; `rc_keras.from_preset` reads it.

        | file | content |
        | --- | --- |
        | `bank/bank.safetensors` | what the tasks share, and what new tasks start from |
        | `tasks/<name>/task.rctask` | one task, as `save_task` writes it |
        | `config.json` | how the model is rebuilt, and which tasks it has; nothing but data |
        | `metadata.json` | versions, the bank's fingerprint, numbers of parameters; for people and tools |
        | `manifest.json` | these files with their lengths and digests, by which `from_preset` knows them |
        | `README.md` | a card: tasks, classes, parameters, how to load |

        Saving to the same folder again, for instance after `add_task`, writes only what changed, and never the bank.
        The new manifest makes all new files count at once: whenever saving is cut short, `from_preset` loads the old
        model or the new one. New content waits in the folder `.new` until then; what a killed process left there is
        put right when the folder is saved to again.

        Nothing is deleted: the pack of a task that the model does not have stays where it is, and `from_preset` loads
        it when it is asked for by name, like a pack that was copied in. Remove its folder to be rid of it. To put
        another pack in the place of one that was saved, `load_task` it and save. Of a `README.md`, what stands outside
        of the card's marks is kept, and one without the marks is not touched. The state of the optimizer is not part of
        a preset; `save` keeps it.

        Example:

        >>> model.save_to_preset("street")
        >>> model.add_task("depth")
        >>> model.fit(dataset)
        >>> model.save_to_preset("street")  # writes tasks/depth/, and the texts

        Args:
            directory: the folder; made if there is none.

        Raises:
            ValueError: if the tasks train an encoder in common; if the folder holds another bank, or files of these
                names that are no preset's; if the bank in it is damaged (remove the file to have it written); if names
                of tasks differ by case only.
            OSError: if a file cannot be written, or another process is saving to the folder (`BlockingIOError`); a
                preset that was there before can still be read.
        """
        preset.save(self, directory)

    def parameter_report(self) -> ParameterReport:
        """The `ParameterReport`: what is shared and what each task adds."""
        return parameter_report(self.bank, self._held.branches)

    def mac_report(self, image_shape: Sequence[int | None] | None = None) -> MacReport:
        """The `MacReport`: multiply-accumulates of each task for one image.

        Args:
            image_shape: `(height, width, channels)`; `None`: the model's, where it is not free.
        """
        joint = None if self.bank.method.shared_encoder is None else self.joint_branch(self.tasks)
        return mac_report(self._held.branches, self.image_shape if image_shape is None else image_shape, joint)

    def export(self, path: str | os.PathLike, format: str | None = None, **options: Any) -> "ExportReport":
        """Writes the model for deployment, verified in the runtime it is meant for.

        Args:
            path, format, options: see `rc_keras.export.export`.

        Returns:
            The `ExportReport`.
        """
        from rc_keras import export  # export builds on this package, not the other way round

        return export.export(self, path, format, **options)

    def _known(self, name: str) -> str:
        if name not in self._held.tasks:
            raise unknown_name("task", name, self._held.tasks)
        return name

    def _new_task(
        self, task: Task, decoder: str | dict[str, Any] | Callable[..., keras.KerasTensor] | None = None
    ) -> None:
        if task.name in self._held.tasks:
            raise ValueError(f"Task names must be unique. Received: {task.name!r}, which the model already has")
        if decoder is None:
            decoder = next(iter(self._held.decoders.values()), "deeplabv3plus")
        made = decoders.get(decoder)
        with self._scope():
            branch = make_branch(self.bank, task, made, self.seed, self.dtype_policy)
        self._install(task, made, branch)

    def _install(self, task: Task, decoder: Callable[..., keras.KerasTensor], branch: keras.Model) -> None:
        """Puts a branch in its place; a task of the same name goes, with its optimizer state and its metrics."""
        self._forget_task(task.name)
        self._held.tasks[task.name] = task
        self._held.decoders[task.name] = decoder
        self._held.branches[task.name] = branch
        self._list_layers()

    def _list_layers(self) -> None:
        """Shows Keras the layers of the model, so that it finds their variables."""
        self.list_layers(self._held.layers)
        self._held.joint.clear()
        self._forget_functions()

    @property
    def layers(self) -> "_Layers":
        """The bank's template and the branches, read-only."""
        return _Layers(self._held.layers)

    # Forward

    def call(
        self, images: Tensor, training: bool | None = None, tasks: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        first_batch.check_image_spec(images, self.image_shape)
        if isinstance(tasks, str):
            raise ValueError(f"`tasks` must be a list of task names, or None. Received: tasks={tasks!r}")
        names = self.tasks if tasks is None else [self._known(name) for name in tasks]
        moving = [name for name in names if training and name in self._held.trainable]
        if self.bank.method.shared_encoder is None:
            return {name: self.branch(name)(images, training=name in moving) for name in names}
        outputs: dict[str, Tensor] = {}
        for group, training in ((moving, True), ([name for name in names if name not in moving], False)):
            outputs |= self.joint_branch(group)(images, training=training) if group else {}
        return {name: outputs[name] for name in names}

    # Variables. A task is frozen by not being in `trainable_tasks`; `trainable` flags are the user's.

    @property
    def trainable(self) -> bool:
        return self._held.thawed

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._held.thawed = bool(value)

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        if not self.trainable:
            return []
        variables = [v for name in self.trainable_tasks for v in self.branch(name).trainable_variables]
        return list({id(v): v for v in variables}.values())  # those of a shared encoder once

    @property
    def non_trainable_variables(self) -> list[keras.Variable]:
        trainable = {id(v) for v in self.trainable_variables}
        return [v for v in self.variables if id(v) not in trainable] + self.loss_weight_variables

    @property
    def trainable_weights(self) -> list[keras.Variable]:
        return self.trainable_variables

    @property
    def non_trainable_weights(self) -> list[keras.Variable]:
        trainable = {id(v) for v in self.trainable_variables}
        return [v for v in self.weights if id(v) not in trainable]

    # Saving

    def save(
        self, filepath: str | os.PathLike, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any
    ) -> None:
        """Writes the model, with the state of its optimizer, to one `.keras` file; see `keras.Model.save`.

        The file appears whole or not at all: what stood there before stays until the new one is on the disk.

        Raises:
            ValueError: if the name does not end in `.keras`, nor `zipped=False` asks for a folder. Nothing is written.
        """
        name = os.fspath(filepath)
        if not name.endswith(".keras") and zipped is not False and not name.startswith("hf://"):
            raise ValueError(
                "`filepath` must end in `.keras`. `save_weights` writes weights alone to `.weights.h5`, "
                "`save_to_preset` bank and tasks apart, `save_task` one task, `export` what runs without Keras. "
                f"Received: filepath={name!r}"
            )
        asks_first = not overwrite and os.path.exists(name)  # Keras does
        in_place = zipped is False or "://" in name or asks_first
        with contextlib.nullcontext(filepath) if in_place else whole_file(name) as written:
            super().save(written, overwrite=overwrite, zipped=zipped, **kwargs)

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        for name, variable in self._named_variables().items():
            store[name] = ops.convert_to_numpy(variable)

    def load_own_variables(self, store: MutableMapping[str, Any]) -> None:
        variables = self._named_variables()
        assign_named(variables, {name: store[name] for name in store.keys()}, "the file")  # noqa: SIM118

    def _named_variables(self) -> dict[str, keras.Variable]:
        layers = [layer for model in self._held.layers for layer in model.layers]
        return {name.replace("/", "."): variable for name, variable in named_variables(layers).items()}

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "seed": self.seed,
            "method": self.bank.method.name,
            "template": serialize(self.bank.template),
            "tasks": [serialize(task) for task in self._held.tasks.values()],
            "decoders": [serialize(decoder) for decoder in self._held.decoders.values()],
            "trainable_tasks": self.trainable_tasks,
            "trainable": self.trainable,
            "frozen_layers": {name: frozen_layers(branch) for name, branch in self._held.branches.items()},
            "dtype": serialize(self.dtype_policy),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MultiTaskModel":
        deserialize = keras.saving.deserialize_keras_object
        bank = FilterBank.from_template(deserialize(config["template"]), config["method"])
        model = cls(bank, seed=config["seed"], name=config["name"], dtype=deserialize(config["dtype"]))
        for task, decoder in zip(config["tasks"], config["decoders"], strict=True):
            model._new_task(deserialize(task), decoder)
        for name, layers in config["frozen_layers"].items():
            for layer in layers:
                model.branch(name).get_layer(layer).trainable = False
        model.trainable_tasks = config["trainable_tasks"]
        model.trainable = config["trainable"]
        return model


class _Layers(collections.abc.Sequence):
    """A sequence that is not a list: Keras saves the lists it finds in a model, and weights would be stored twice."""

    def __init__(self, layers: list[keras.layers.Layer]) -> None:
        self._list = layers

    def __getitem__(self, index: Any) -> Any:
        return self._list[index]

    def __len__(self) -> int:
        return len(self._list)


class _Held:
    """What the model owns besides Keras's own attributes."""

    def __init__(self, bank: FilterBank) -> None:
        self.bank = bank
        self.tasks: dict[str, Task] = {}
        self.branches: dict[str, keras.Model] = {}
        self.decoders: dict[str, Callable[..., keras.KerasTensor]] = {}
        # {names of tasks: their branches as one model}, where they share an encoder that trains
        self.joint: dict[tuple[str, ...], keras.Model] = {}
        self.trainable: set[str] = set()  # names of tasks
        self.thawed = True  # what the user set as `model.trainable`

    @property
    def layers(self) -> list[keras.Model]:
        """The bank's template and the branches."""
        return [self.bank.template, *self.branches.values()]
