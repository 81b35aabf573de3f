"""The network that the bank of `rooms` is made of: one encoder and decoder, taught four maps at once."""

import dataclasses
import os
from collections.abc import Sequence

import keras

import rc_keras
from rc_keras.zoo.rendering.tasks import scenes_tasks
from rc_keras.zoo.rooms.optimizer import make_optimizer
from rc_keras.zoo.rooms.resumable_fit import fit_resumably
from rc_keras.zoo.rooms.room_batches import RoomBatches
from rc_keras.zoo.rooms.stored_rooms import StoredRooms

DONOR = "rooms"  # the task that stands for all four maps

_WEIGHTS = {"semseg": 1.0, "parts": 1.0, "normals": 3.0, "depth": 0.5}  # of the losses; edge and saliency are not shown


@dataclasses.dataclass(frozen=True)
class Pretraining:
    """What is pretrained, and for how long.

    Attributes:
        depths, widths: of the ResNet, see `rc_keras.backbones.resnet`.
        output_stride: of the same.
        decoder_width, low_level_width, rates: of the DeepLabv3+ decoder.
        size: height and width of the images, pixels.
        train: numbers of the rooms; the first thousand are left to those who want to train on the preset.
        batch_size: images in one step.
        steps: of the whole training; a multiple of `steps_per_epoch`.
        steps_per_epoch: steps between two lines of the log.
        learning_rate: the peak, see `make_optimizer`.
        seed: base of everything random.
    """

    depths: tuple[int, ...] = (2, 2, 2, 2)
    widths: tuple[int, ...] = (24, 48, 96, 192)
    output_stride: int = 8
    decoder_width: int = 64
    low_level_width: int = 32
    rates: tuple[int, ...] = (2, 4, 6)
    size: int = 128
    train: tuple[int, int] = (1000, 21000)
    batch_size: int = 32
    steps: int = 15000
    steps_per_epoch: int = 250
    learning_rate: float = 2e-3
    seed: int = 0


def pretrain(settings: Pretraining, rooms: StoredRooms, folder: str | os.PathLike) -> rc_keras.MultiTaskModel:
    """Trains the network, or goes on where it was stopped.

    Args:
        settings: the `Pretraining`.
        rooms: the rooms, rendered.
        folder: of the newest checkpoint.

    Returns:
        A `MultiTaskModel` of the method `single_task` with one task, `DONOR`: encoder and decoder, and the four maps as
        channels of one prediction.
    """
    channels = sum(task.channels for task in scenes_tasks() if task.name in _WEIGHTS)
    donor = plain_network([rc_keras.Task(DONOR, channels, "segmentation")], settings)
    branch = donor.branch(DONOR)
    network = fit_resumably(
        lambda: _with_maps(branch, settings),
        lambda steps: RoomBatches(rooms, list(_WEIGHTS), settings.batch_size, settings.seed, steps),
        settings.steps,
        settings.steps_per_epoch,
        folder,
    )
    for trained, own in zip(network.get_layer(branch.name).weights, branch.weights, strict=True):
        own.assign(trained)
    return donor


def plain_network(tasks: Sequence[rc_keras.Task], settings: Pretraining) -> rc_keras.MultiTaskModel:
    """Such a network for each of some tasks, with new weights: a `MultiTaskModel` of the method `single_task`."""
    shape = (settings.size, settings.size, 3)
    return rc_keras.build(
        tasks,
        backbone=rc_keras.backbones.resnet(
            settings.depths, settings.widths, shape, settings.output_stride, seed=settings.seed
        ),
        decoder=rc_keras.decoders.DeepLabV3Plus(settings.decoder_width, settings.low_level_width, settings.rates),
        image_shape=shape,
        method="single_task",
        seed=settings.seed,
    )


def _with_maps(branch: keras.Model, settings: Pretraining) -> keras.Model:
    """The branch as a compiled plain network that answers the maps one by one."""
    image = keras.Input(branch.inputs[0].shape[1:])
    prediction, first = branch(image), 0
    tasks = {task.name: task for task in scenes_tasks() if task.name in _WEIGHTS}
    outputs = {}
    for name, task in tasks.items():
        raw = prediction[..., first : first + task.channels]
        outputs[name] = task.definition.make_output_layer(name)(raw)
        first += task.channels
    network = keras.Model(image, outputs)
    network.compile(
        make_optimizer(settings.learning_rate, settings.steps, weight_decay=1e-4),
        loss={name: task.make_loss() for name, task in tasks.items()},
        loss_weights={name: _WEIGHTS[name] for name in tasks},
    )
    return network
