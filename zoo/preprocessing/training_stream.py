"""The batches a model is trained on."""

import operator
from collections.abc import Iterable

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from rc_keras.tasks.task import Task
from rc_keras.zoo.preprocessing.augmentation import Labels, augment, example_seed, order_seed
from rc_keras.zoo.preprocessing.labelled_images import LabelledImages, indices_where, stream_options
from rc_keras.zoo.preprocessing.preprocessing import Preprocessing
from rc_keras.zoo.preprocessing.stored_examples import StoredExamples


def training_batches(
    builder: tfds.core.DatasetBuilder,
    split: str,
    tasks: Iterable[Task],
    preprocessing: Preprocessing,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    drop_remainder: bool = False,
    only: str | None = None,
) -> tf.data.Dataset:
    """Endless batches, augmented, each epoch in another order.

    An epoch is one pass over the split in an order drawn from (seed, epoch); the augmentation of an example is drawn
    from (seed, epoch, position in the epoch). So the batch of step k depends on the seed and k alone: a stream started
    at `start_step=k` yields, bit for bit, what the uninterrupted stream yields from step k on, and starts as quickly.

    Args:
        builder: a prepared TFDS builder, with features `image` and one named like each task.
        split: name of a split, or a part of one like `"train[:80%]"`.
        tasks: list of `rc_keras.Task`.
        preprocessing: the `Preprocessing`.
        batch_size: images in a batch.
        seed: integer, base of all that is random.
        start_step: step of the first batch.
        drop_remainder: leave out the last, smaller batch of each epoch.
        only: name of a boolean feature: examples where it is false are left out.

    Returns:
        `tf.data.Dataset` of `(images, {task: labels})`: images uint8 `(batch, height, width, 3)`; class ids and maps
        `(batch, height, width, 1)` in their stored type, normals float32 `(batch, height, width, 3)`, depth float32
        `(batch, height, width, 1)` in metres, classes `(batch,)`.

    Raises:
        ValueError: if an argument is wrong or the data set lacks the labels of a task.

    Example:

    >>> builder = tfds.builder("scenes")
    >>> batches = training_batches(builder, "train", scenes_tasks(), Preprocessing((128, 128)), batch_size=8, seed=0)
    >>> model.fit(batches, steps_per_epoch=steps_per_epoch(builder, "train", batch_size=8), epochs=10)
    """
    seed, start_step = operator.index(seed), operator.index(start_step)
    if start_step < 0:
        raise ValueError(f"`start_step` must be at least 0. Received: start_step={start_step}")
    examples = LabelledImages(builder, split, tasks, preprocessing.resize)
    indices = np.arange(len(examples)) if only is None else indices_where(builder, split, only)
    count = len(indices)
    steps = _count_steps(count, batch_size, drop_remainder)

    def batch(step: tf.Tensor) -> tuple[tf.Tensor, Labels]:
        epoch, first = step // steps, step % steps * batch_size
        order = tf.random.experimental.stateless_shuffle(indices, seed=order_seed(seed, epoch))

        def example(position: tf.Tensor) -> tuple[tf.Tensor, Labels]:
            image, labels, _ = examples.read(order[position])
            return augment(image, labels, examples.tasks, preprocessing, example_seed(seed, epoch, position))

        positions = tf.data.Dataset.range(first, tf.minimum(first + batch_size, count))
        return positions.map(example).batch(batch_size, drop_remainder).get_single_element()

    batches = tf.data.Dataset.counter(start_step).map(batch, tf.data.AUTOTUNE)
    return batches.prefetch(tf.data.AUTOTUNE).with_options(stream_options())


def training_ids(
    builder: tfds.core.DatasetBuilder,
    split: str,
    batch_size: int,
    seed: int,
    step: int,
    drop_remainder: bool = False,
    only: str | None = None,
) -> list[str]:
    """The ids of the examples in one batch of `training_batches`, to say which one was at fault.

    Args:
        step: step of the batch.
        builder, split, batch_size, seed, drop_remainder, only: see `training_batches`.

    Returns:
        List of strings: the feature `id`, or the place in the split where the data set has none.
    """
    has_id = "id" in builder.info.features
    examples = StoredExamples(builder, split, ["id"] if has_id else ["image"])
    indices = np.arange(len(examples)) if only is None else indices_where(builder, split, only)
    steps = _count_steps(len(indices), batch_size, drop_remainder)
    order = tf.random.experimental.stateless_shuffle(indices, seed=order_seed(seed, step // steps)).numpy()
    batch = order[step % steps * batch_size :][:batch_size]
    return [examples.read(i)["id"].numpy().decode() if has_id else str(i) for i in batch]


def steps_per_epoch(
    builder: tfds.core.DatasetBuilder,
    split: str,
    batch_size: int,
    drop_remainder: bool = False,
    only: str | None = None,
) -> int:
    """Batches in one epoch of `training_batches`; arguments as there."""
    if only is not None:
        return _count_steps(len(indices_where(builder, split, only)), batch_size, drop_remainder)
    return _count_steps(builder.info.splits[split].num_examples, batch_size, drop_remainder)


def _count_steps(count: int, batch_size: int, drop_remainder: bool) -> int:
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1. Received: batch_size={batch_size}")
    steps = count // batch_size if drop_remainder else -(-count // batch_size)
    if not steps:
        least = f"at least one batch of {batch_size} examples" if drop_remainder else "at least one example"
        raise ValueError(f"The training data must hold {least}. Received: {count} examples")
    return steps
