"""The rendered rooms as `tf.data` pipelines."""

import os
from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from rc_keras.zoo.datasets.preparation import prepare_quietly
from rc_keras.zoo.datasets.scenes.scenes_dataset_builder import Builder, ScenesConfig
from rc_keras.zoo.demo.config import DemoConfig


class Rooms:
    """The data set `scenes` in the demo's size, rendered once and then read from disk.

    Args:
        config: the `DemoConfig`.
        size: height and width of the images, pixels.
        data_dir: where TFDS keeps data sets; `None`: its default.
    """

    def __init__(self, config: DemoConfig, size: int, data_dir: str | os.PathLike | None = None) -> None:
        scenes = ScenesConfig(
            name=f"{size}x{size}_{config.task_images}_{config.validation_images}",
            description="The rooms of the demo.",
            size=size,
            train=config.task_images,
            validation=config.validation_images,
        )
        self._builder = Builder(config=scenes, data_dir=data_dir)
        prepare_quietly(self._builder)

    def training(self) -> dict[str, np.ndarray]:
        """`{feature: array}` of the images the tasks are trained on."""
        return self._arrays("train")

    def validation(self) -> dict[str, np.ndarray]:
        """`{feature: array}` of the images that nothing is trained on."""
        return self._arrays("validation")

    def _arrays(self, split: str) -> dict[str, np.ndarray]:
        rows = list(tfds.as_numpy(self._builder.as_dataset(split=split, shuffle_files=False)))
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def training_batches(arrays: Mapping[str, np.ndarray], names: Iterable[str], config: DemoConfig) -> tf.data.Dataset:
    """`mirrored_batches` as the configuration says."""
    return mirrored_batches(arrays, names, config.batch_size, config.seed)


def mirrored_batches(
    arrays: Mapping[str, np.ndarray], names: Iterable[str], batch_size: int, seed: int
) -> tf.data.Dataset:
    """Shuffled batches `(images, {name: labels})`, half of the examples mirrored; the same for every call."""
    labels = {name: arrays[name] for name in names}
    examples = tf.data.Dataset.from_tensor_slices((arrays["image"], labels))
    examples = examples.shuffle(len(arrays["image"]), seed=seed)
    coins = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
    examples = tf.data.Dataset.zip(examples, coins).map(_mirror_half)
    return examples.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def validation_batches(arrays: Mapping[str, np.ndarray], names: Iterable[str]) -> tf.data.Dataset:
    """Batches `(images, {name: labels})` in order."""
    labels = {name: arrays[name] for name in names}
    return tf.data.Dataset.from_tensor_slices((arrays["image"], labels)).batch(20).prefetch(tf.data.AUTOTUNE)


def _mirror_half(
    example: tuple[tf.Tensor, dict[str, tf.Tensor]], coin: tf.Tensor
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    image, labels = example

    def mirrored() -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        flipped = {name: label[:, ::-1] if label.shape.rank == 3 else label for name, label in labels.items()}
        if "normals" in flipped:  # x points to the right of the image
            flipped["normals"] *= tf.constant([-1.0, 1.0, 1.0])
        return image[:, ::-1], flipped

    return tf.cond(coin % 2 == 0, mirrored, lambda: (image, labels))
