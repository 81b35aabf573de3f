"""The network that the bank of `rooms` is made of: one encoder and decoder, taught four maps at once."""

import dataclasses
import os
import pathlib

import keras
import tensorflow as tf
import tensorflow_datasets as tfds

import rc_keras
from rc_keras.files.whole_files import whole_file
from rc_keras.zoo.datasets.scenes.tasks import scenes_tasks
from rc_keras.zoo.preprocessing import Preprocessing, training_batches

DONOR = "rooms"  # the task that stands for all four maps

_WEIGHTS = {"semseg": 1.0, "parts": 1.0, "normals": 3.0, "depth": 0.5}  # of the losses; edge and saliency are not shown
_SCALES = (1.0, 1.0, 1.15, 1.3)


@dataclasses.dataclass(frozen=True)
class Pretraining:
    """What is pretrained, and for how long.

    Attributes:
        depths, widths: of the ResNet, see `rc_keras.backbones.resnet`.
        output_stride: of the same.
        decoder_width, low_level_width, rates: of the DeepLabv3+ decoder.
        size: height and width of the images, pixels.
        split: of the training rooms.
        batch_size: images in one step.
        steps: of the whole training.
        checkpoint_every: steps between checkpoints; divides `steps`.
        learning_rate: the peak, after a twentieth of the steps; it falls along a cosine.
        seed: base of everything random.
    """

    depths: tuple[int, ...] = (2, 2, 2, 2)
    widths: tuple[int, ...] = (24, 48, 96, 192)
    output_stride: int = 8
    decoder_width: int = 64
    low_level_width: int = 32
    rates: tuple[int, ...] = (2, 4, 6)
    size: int = 128
    split: str = "train[1000:]"
    batch_size: int = 16
    steps: int = 12000
    checkpoint_every: int = 250
    learning_rate: float = 2e-3
    seed: int = 0


def pretrain(
    settings: Pretraining, builder: tfds.core.DatasetBuilder, folder: str | os.PathLike
) -> rc_keras.MultiTaskModel:
    """Trains the network, or goes on where it was stopped.

    Args:
        settings: the `Pretraining`.
        builder: of `scenes`, prepared.
        folder: gets `network.keras`, the newest checkpoint with its optimizer.

    Returns:
        A `MultiTaskModel` of the method `single_task` with one task, `DONOR`: encoder and decoder, and the four maps as
        channels of one prediction.
    """
    path = pathlib.Path(folder) / "network.keras"
    donor = _make_donor(settings)
    branch = donor.branch(DONOR)
    network = keras.saving.load_model(path) if path.exists() else _with_maps(branch, settings)
    done = int(network.optimizer.iterations)
    if done < settings.steps:
        network.fit(
            _batches(settings, builder, done),
            steps_per_epoch=settings.checkpoint_every,
            epochs=settings.steps // settings.checkpoint_every,
            initial_epoch=done // settings.checkpoint_every,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: _save(network, path))],
            verbose=2,
        )
    for trained, own in zip(network.get_layer(branch.name).weights, branch.weights, strict=True):
        own.assign(trained)
    return donor


def _make_donor(settings: Pretraining) -> rc_keras.MultiTaskModel:
    shape = (settings.size, settings.size, 3)
    channels = sum(task.channels for task in scenes_tasks() if task.name in _WEIGHTS)
    return rc_keras.build(
        [rc_keras.Task(DONOR, channels, "segmentation")],
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
    warmup = settings.steps // 20
    schedule = keras.optimizers.schedules.CosineDecay(
        settings.learning_rate / 20,
        max(settings.steps - warmup, 1),
        alpha=0.01,
        warmup_target=settings.learning_rate,
        warmup_steps=warmup,
    )
    network.compile(
        keras.optimizers.AdamW(schedule, weight_decay=1e-4, clipnorm=5.0),
        loss={name: task.make_loss() for name, task in tasks.items()},
        loss_weights={name: _WEIGHTS[name] for name in tasks},
    )
    return network


def _batches(settings: Pretraining, builder: tfds.core.DatasetBuilder, start: int) -> tf.data.Dataset:
    """Batches from a step on; each depends on the seed and its step alone."""
    tasks = [task for task in scenes_tasks() if task.name in _WEIGHTS]
    how = Preprocessing((settings.size, settings.size), scales=_SCALES)
    stream = training_batches(
        builder, settings.split, tasks, how, settings.batch_size, settings.seed, start_step=start, drop_remainder=True
    )

    def change_light(step: tf.Tensor, batch: tuple[tf.Tensor, dict[str, tf.Tensor]]) -> tuple:
        images, labels = batch
        seed = tf.stack([tf.cast(step, tf.int32), 7])
        count = tf.shape(images)[0]
        colour = tf.random.stateless_uniform((count, 1, 1, 3), seed, 0.75, 1.25)
        light = tf.random.stateless_uniform((count, 1, 1, 1), seed + 1, 0.7, 1.3)
        return tf.clip_by_value(tf.cast(images, tf.float32) * colour * light, 0.0, 255.0), labels

    numbered = tf.data.Dataset.zip(tf.data.Dataset.counter(start), stream)
    return numbered.map(change_light).prefetch(2)


def _save(network: keras.Model, path: pathlib.Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        network.save(temporary)
