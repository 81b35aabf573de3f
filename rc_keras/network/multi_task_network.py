"""The network of several tasks: a shared bank and one branch for each task."""

import collections
import contextlib
import os
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from typing import Any, Self

import keras
from keras import ops

from rc_keras import decoders
from rc_keras.base import replicas
from rc_keras.base.keras_internals import HookedModel
from rc_keras.base.keras_types import Tensor
from rc_keras.base.names import unknown_name
from rc_keras.files.named_weights import assign_named, named_variables
from rc_keras.network.bank import FilterBank
from rc_keras.network.branch import frozen_layers, make_branch, own_part
from rc_keras.network.common_part import IMAGE, call_rest
from rc_keras.network.donor import Donor
from rc_keras.network.graft import is_trained_by_all
from rc_keras.network.image_spec import check_image_spec
from rc_keras.tasks.task import Task


class MultiTaskNetwork(HookedModel):
    """Branches of tasks that come and go on one bank, as one `keras.Model`; how they are trained is not said here.

    A subclass that keeps anything for the tasks drops it in `_before_change`.

    Args:
        bank: the `FilterBank`; its template answers `{"low_level": map, "high_level": map}`.
        seed: base of everything random, together with the names of task and layer.
        name: the name of the model.
        dtype: the dtype policy of decoders; `None`: the global one.

    Call arguments:
        images: RGB in 0..255, `(batch, height, width, channels)`, uint8 or float.
        training: whether norms use, and move by, the statistics of the batch; only in trainable tasks.
        tasks: names of the branches to run; `None`: all.

    Returns:
        `{task: raw prediction}`, see `Task`.
    """

    _skips_mismatch = False  # of the `load_weights` that runs

    def __init__(self, bank: FilterBank, seed: int = 0, name: str | None = None, dtype: Any = None) -> None:
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

    def common_features(self, images: Tensor) -> Any:
        """What branches compute alike, computed once; the images themselves where that is nothing of the bank.

        Returns:
            What every `own_part` takes.
        """
        common = self.bank.common_part
        if common is None:
            return images
        images = ops.convert_to_tensor(images)
        return {IMAGE: images, **common(images, training=False)}

    def own_part(self, name: str) -> keras.Model:
        """The branch of a task without what all branches compute alike, on the same layers."""
        own = self._held.own
        if name not in own:
            own[name] = own_part(self.bank, self.branch(name), self.task(name))
        return own[name]

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
        trainable = {self._known(name) for name in names}
        self._before_change()
        self._held.trainable = trainable

    def _known(self, name: str) -> str:
        if name not in self._held.tasks:
            raise unknown_name("task", name, self._held.tasks)
        return name

    def _check_new(self, task: Task) -> None:
        if task.name in self._held.tasks:
            raise ValueError(f"Task names must be unique. Received: {task.name!r}, which the model already has")

    def _new_task(
        self, task: Task, decoder: str | dict[str, Any] | Callable[..., keras.KerasTensor] | None = None
    ) -> None:
        self._check_new(task)
        if self.bank.donor is not None:
            made = self.bank.donor.check_decoder(decoder)
        else:
            first = next(iter(self._held.decoders.values()), "deeplabv3plus")
            made = decoders.get(first if decoder is None else decoder)
        with self._scope():
            is_new = not isinstance(decoder, dict)
            branch = make_branch(self.bank, task, made, self.seed, self.dtype_policy, is_new)
        self._put_task(task, made, branch)

    def _put_task(self, task: Task, decoder: Callable[..., keras.KerasTensor], branch: keras.Model) -> None:
        """Puts a branch in its place; a task of the same name goes."""
        self._before_change(leaving=task.name)
        self._held.tasks[task.name] = task
        self._held.decoders[task.name] = decoder
        self._held.branches[task.name] = branch
        self._held.own.pop(task.name, None)
        self._list_layers()

    def _drop_task(self, name: str) -> None:
        self._before_change(leaving=name)
        for mapping in (self._held.tasks, self._held.branches, self._held.decoders):
            del mapping[name]
        self._held.own.pop(name, None)
        self._held.trainable.discard(name)
        self._list_layers()

    def _before_change(self, leaving: str | None = None) -> None:
        """Called before tasks come, go, freeze or thaw; what it raises leaves everything as it was.

        Args:
            leaving: name of a task that goes, if there is one of this name.
        """

    def _scope(self) -> contextlib.AbstractContextManager[Any]:
        """The `tf.distribute` strategy the network was made under, for what is made later."""
        return replicas.scope_of(getattr(self, "distribute_strategy", None))

    def _list_layers(self) -> None:
        """Shows Keras the layers of the network, so that it finds their variables."""
        self.list_layers(self._held.layers)
        self._held.joint.clear()

    @property
    def layers(self) -> "_Layers":
        """The bank's template and the branches, read-only."""
        return _Layers(self._held.layers)

    # Forward

    def call(
        self, images: Tensor, training: bool | None = None, tasks: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        check_image_spec(images, self.image_shape)
        if isinstance(tasks, str):
            raise ValueError(f"`tasks` must be a list of task names, or None. Received: tasks={tasks!r}")
        names = self.tasks if tasks is None else [self._known(name) for name in tasks]
        moving = [name for name in names if training and self.trainable and name in self._held.trainable]
        if self.bank.method.shared_encoder is None:
            if len(names) == 1:
                return {name: self.branch(name)(images, training=name in moving) for name in names}
            features = self.common_features(images)
            return {name: call_rest(self.own_part(name), features, training=name in moving) for name in names}
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
        return [v for v in self.variables if id(v) not in trainable]

    @property
    def trainable_weights(self) -> list[keras.Variable]:
        return self.trainable_variables

    @property
    def non_trainable_weights(self) -> list[keras.Variable]:
        trainable = {id(v) for v in self.trainable_variables}
        return [v for v in self.weights if id(v) not in trainable]

    # Saving

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        for name, variable in self._named_variables().items():
            store[name] = ops.convert_to_numpy(variable)

    def load_weights(self, filepath: str | os.PathLike, skip_mismatch: bool = False, **kwargs: Any) -> None:
        """Loads the weights of `save_weights`; as `keras.Model.load_weights`.

        Args:
            filepath: of a `.weights.h5` file.
            skip_mismatch: load what has the same name and shape, and warn of the rest by name.
            kwargs: as of `keras.Model.load_weights`.

        Raises:
            ValueError: if names or shapes differ, without `skip_mismatch`; nothing is loaded then.
        """
        self._skips_mismatch = skip_mismatch
        try:
            super().load_weights(filepath, skip_mismatch=skip_mismatch, **kwargs)
        finally:
            self._skips_mismatch = False

    def load_own_variables(self, store: MutableMapping[str, Any]) -> None:
        tensors = {name: store[name] for name in store.keys()}  # noqa: SIM118
        assign_named(self._named_variables(), tensors, "the file", self._skips_mismatch)

    def _named_variables(self) -> dict[str, keras.Variable]:
        layers = [layer for model in self._held.layers for layer in model.layers]
        return {name.replace("/", "."): variable for name, variable in named_variables(layers).items()}

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        donor = self.bank.donor
        return {
            **({} if donor is None else {"donor": donor.get_config()}),
            "name": self.name,
            "seed": self.seed,
            "method": self.bank.method.name,
            **({"shared_stages": self.bank.shared_stages} if self.bank.shared_stages else {}),
            "template": serialize(self.bank.template),
            "tasks": [serialize(task) for task in self._held.tasks.values()],
            "decoders": [serialize(decoder) for decoder in self._held.decoders.values()],
            "trainable_tasks": self.trainable_tasks,
            "trainable": self.trainable,
            "frozen_layers": {name: frozen_layers(branch) for name, branch in self._held.branches.items()},
            "dtype": serialize(self.dtype_policy),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        deserialize = keras.saving.deserialize_keras_object
        template, shared_stages = deserialize(config["template"]), config.get("shared_stages", 0)
        donor = Donor.from_config(config["donor"]) if "donor" in config else None
        bank = FilterBank.from_template(template, config["method"], donor, shared_stages)
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
    """What the network owns besides Keras's own attributes."""

    def __init__(self, bank: FilterBank) -> None:
        self.bank = bank
        self.tasks: dict[str, Task] = {}
        self.branches: dict[str, keras.Model] = {}
        self.decoders: dict[str, Callable[..., keras.KerasTensor]] = {}
        # {names of tasks: their branches as one model}, where they share an encoder that trains
        self.joint: dict[tuple[str, ...], keras.Model] = {}
        # Branches without what all of them compute alike, as far as they have been asked for
        self.own: dict[str, keras.Model] = {}
        self.trainable: set[str] = set()  # names of tasks
        self.thawed = True  # what the user set as `model.trainable`

    @property
    def layers(self) -> list[keras.Model]:
        """The bank's template and the branches."""
        return [self.bank.template, *self.branches.values()]
