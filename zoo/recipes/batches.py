"""The batches that a recipe feeds to a model."""

from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from rc_keras.methods import get_method
from rc_keras.tasks.task import Task
from rc_keras.zoo.datasets.data import Data
from rc_keras.zoo.preprocessing import Preprocessing, evaluation_batches, training_batches, training_ids
from rc_keras.zoo.recipes.recipe import Recipe


def preprocessing(recipe: Recipe) -> Preprocessing:
    """The `Preprocessing` of a recipe."""
    return Preprocessing(recipe.crop, resize=recipe.resize, scales=recipe.scales, flip=recipe.flip)


def training_stream(recipe: Recipe, data: Data, start_step: int = 0, drop_remainder: bool = False) -> tf.data.Dataset:
    """Endless batches `(images, {task: labels})` of the training split, from a step on."""
    return training_batches(
        data.builder,
        "train",
        data.select(recipe.tasks),
        preprocessing(recipe),
        recipe.batch_size,
        recipe.seed,
        start_step=start_step,
        drop_remainder=drop_remainder,
        only=recipe.images_with,
    )


def images_of_step(recipe: Recipe, data: Data, step: int, drop_remainder: bool = False) -> list[str]:
    """Ids of the images that a step of `training_stream` trains on."""
    return training_ids(
        data.builder,
        "train",
        recipe.batch_size,
        recipe.seed,
        step,
        drop_remainder=drop_remainder,
        only=recipe.images_with,
    )


def evaluation_stream(
    recipe: Recipe, data: Data, tasks: Iterable[Task], split: str = "validation", only: Sequence[int] | None = None
) -> tf.data.Dataset:
    """Batches `(images, {task: labels}, {"id": …, "box": …})` of a split, in order; see `evaluation_batches`."""
    return evaluation_batches(data.builder, split, tasks, preprocessing(recipe), recipe.batch_size, only)


def measured_pairs(
    batches: tf.data.Dataset, tasks: Sequence[Task], batch_size: int, replicas: int = 1
) -> tf.data.Dataset:
    """`(images, {task: labels})` of an evaluation stream.

    For several replicas the last batch is filled up with unlabelled images, which no metric counts, so that it divides.
    """
    if replicas == 1:
        return batches.map(lambda images, labels, _: (images, labels))

    def fill(x: tf.Tensor, value: int) -> tf.Tensor:
        missing = batch_size - tf.shape(x)[0]
        x = tf.pad(x, [[0, missing]] + [[0, 0]] * (x.shape.rank - 1), constant_values=tf.cast(value, x.dtype))
        return tf.ensure_shape(x, (batch_size, *x.shape[1:]))

    def fill_all(
        images: tf.Tensor, labels: dict[str, tf.Tensor], _: dict[str, tf.Tensor]
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        return fill(images, 0), {task.name: fill(labels[task.name], task.ignore) for task in tasks}

    return batches.map(fill_all)


def response_images(recipe: Recipe, data: Data) -> np.ndarray | None:
    """Training images for response initialization, cropped, neither scaled nor mirrored; `None`: it uses none."""
    if not recipe.response_images or not get_method(recipe.method).response_init:
        return None
    plain = Preprocessing(recipe.crop, resize=recipe.resize, scales=(1.0,), flip=False)
    batches = training_batches(
        data.builder, "train", data.select(recipe.tasks), plain, 1, recipe.seed, only=recipe.images_with
    )
    return np.stack([images[0] for images, _ in batches.take(recipe.response_images).as_numpy_iterator()])
