"""Which existing task a new one should start from: the one on whose features a fresh head does best."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from rc_keras import decoders
from rc_keras.base.keras_types import Tensor
from rc_keras.network.branch import make_branch
from rc_keras.network.multi_task_network import MultiTaskNetwork
from rc_keras.network.warm_start import HEAD, check_has_starts, copy_start, differences, own_layers
from rc_keras.tasks.task import Task
from rc_keras.training import first_batch, label_keys
from rc_keras.training.batches import iterate_batches

IMAGES = 256
_BATCH_SIZE = 8
_TURNS = IMAGES // _BATCH_SIZE  # batches that are looked at
_STEPS = 8  # of Adam on each
# By how much an answer may move in the first steps, at most; the learning rate, which falls to 0, follows from the size
# of the features, so that neither that nor the decoder's width decides who is nearest.
_STEP = 2.0

Batch = tuple[np.ndarray, np.ndarray, np.ndarray | None]  # images, labels, weights


@dataclasses.dataclass(frozen=True)
class NearestTask:
    """What the search for the nearest task found; `str` of it is a table.

    Attributes:
        task: name of the new task.
        nearest: name of the existing task with the lowest loss.
        losses: `{existing task: loss of the new task with a head fitted on its features}`, the lowest first.
        images: number of images that the heads were fitted on.
    """

    task: str
    nearest: str
    losses: dict[str, float]
    images: int

    def __str__(self) -> str:
        width, lowest = max(map(len, self.losses)), self.losses[self.nearest]
        lines = [f"{self.task} starts from {self.nearest}: loss with a fitted head, {self.images} images"]
        for name, loss in self.losses.items():
            more = f"  {100 * (loss / lowest - 1):+.1f} %" if name != self.nearest and lowest > 0 else ""
            lines.append(f"{name:<{width}}  {loss:.4g}{more}")
        return "\n".join(lines)


def find_nearest(network: MultiTaskNetwork, task: Task, data: Any, decoder: Any = None) -> NearestTask:
    """Fits a head for a new task on the features of each existing one, and compares the losses.

    All heads start alike and take the same number of steps of Adam on the same images, with features as in inference.
    The loss of a batch is taken before the steps on it; what counts is the mean of the second half of the batches.
    Nothing of the network moves.

    Args:
        network: the network.
        task: the new `Task`.
        data: batches `(images, {task: labels})`, see `iterate_batches`; the first 256 images are used, fewer of them
            several times.
        decoder: see `rc_keras.decoders.get`; tasks whose decoder has other layers are left out. `None`: for each task
            its own.

    Raises:
        ValueError: if there is no task to start from, the data has no labels of the new task or wrong ones, or no loss
            is finite.
    """
    check_has_starts(network)
    batches = list(_take(data, task, network))
    fits: list[tuple[Any, _HeadFit]] = []  # one for each decoder
    losses = {}
    for name in network.tasks:
        if network.task(name).definition.dense != task.definition.dense:
            continue
        made = decoders.get(network.decoder(name) if decoder is None else decoder)
        fit = next((fit for known, fit in fits if _same(known, made)), None)
        if fit is None:
            fit = _HeadFit(make_branch(network.bank, task, made, network.seed, network.dtype_policy), task)
            fits.append((made, fit))
        if not differences(fit.branch, network.branch(name)):
            losses[name] = fit.loss_on(network.branch(name), batches)
    if not losses:
        raise ValueError(
            "`init_from` must be None where no task has a decoder like that of the new one. Received: "
            f"init_from='nearest' for {task.name!r} of kind {task.kind}, with the tasks {network.tasks}"
        )
    finite = {name: loss for name, loss in losses.items() if math.isfinite(loss)}
    if not finite:
        raise ValueError(f"The loss of task {task.name!r} must be finite. Received: {losses}")
    ordered = dict(sorted(finite.items(), key=lambda item: item[1]))
    return NearestTask(task.name, next(iter(ordered)), ordered, sum(len(images) for images, *_ in batches))


class _HeadFit:
    """The network of a new task of which only the head is trained, again and again from the same start."""

    def __init__(self, branch: keras.Model, task: Task) -> None:
        self.branch = branch
        image, head = branch.inputs[0], own_layers(branch)[HEAD]
        maps = keras.tree.flatten(head.input)  # a head may take several
        self._features = keras.Model(image, maps)
        behind = keras.Model([*maps, image], branch.output)
        inputs = [keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype) for tensor in behind.inputs]
        self._rest = keras.Model(inputs, behind(inputs, training=False))
        for layer in own_layers(branch).values():  # also those that a decoder has behind its head
            layer.trainable = layer is head
        # Compiling for some hundred small steps takes longer than it saves, but on JAX.
        compiles = keras.backend.backend() == "jax"
        self._rest.compile(keras.optimizers.Adam(), task.make_loss(), jit_compile=compiles)
        self._rest.optimizer.build(self._rest.trainable_variables)
        self._moving = [*self._rest.trainable_variables, *self._rest.optimizer.variables]
        self._start = [np.array(keras.ops.convert_to_numpy(v)) for v in self._moving]

    def loss_on(self, source: keras.Model, batches: Sequence[Batch]) -> float:
        """The loss with all but the head taken from another task's branch."""
        copy_start(source, self.branch)
        for variable, value in zip(self._moving, self._start, strict=True):
            variable.assign(value)
        losses, rate = [], 0.0
        for turn in range(_TURNS):
            images, labels, weights = batches[turn % len(batches)]
            maps = keras.tree.flatten(self._features.predict_on_batch(images))
            maps = [x[: len(images)] for x in maps]  # of several replicas each answers
            if not turn:
                means = [np.mean(np.abs(x), axis=tuple(range(np.ndim(x) - 1)), dtype="float64") for x in maps]
                rate = _STEP / (1.0 + sum(float(np.sum(mean)) for mean in means))
            for step in range(_STEPS):
                self._rest.optimizer.learning_rate = rate * (1.0 - (turn + step / _STEPS) / _TURNS)
                self._rest.reset_metrics()
                loss = self._rest.train_on_batch([*maps, images], labels, weights)
                losses += [] if step else [float(loss)]
        return float(np.mean(losses[_TURNS // 2 :]))


def _take(data: Any, task: Task, network: MultiTaskNetwork) -> Iterator[Batch]:
    """The first images with their labels, checked, in small batches."""
    if "Distributed" in type(data).__name__:
        raise ValueError("`data` must be given before it is distributed. Received: a distributed one")
    left = IMAGES
    for batch in iterate_batches(data):
        images, labels, weights = keras.utils.unpack_x_y_sample_weight(batch)
        label_keys.labelled(labels, [task.name])
        weights = weights.get(task.name) if isinstance(weights, dict) else weights
        images, label = _as_array(images), _as_array(labels[task.name])
        first_batch.check_images(images, network.image_shape)
        task.check_labels(label, images.shape)
        count = min(left, len(images))
        for start in range(0, count, _BATCH_SIZE):
            part = slice(start, min(start + _BATCH_SIZE, count))
            yield images[part], label[part], None if weights is None else _as_array(weights)[part]
        left -= count
        if not left:
            return
    if left == IMAGES:
        raise first_batch.empty(type(data).__name__)


def _same(decoder: Any, other: Any) -> bool:
    serialize = keras.saving.serialize_keras_object
    return decoder is other or serialize(decoder) == serialize(other)


def _as_array(tensor: Tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)
