"""The batches a model is measured on."""

from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from rc_keras.tasks.task import Task
from rc_keras.zoo.preprocessing.augmentation import Labels, crop, pad
from rc_keras.zoo.preprocessing.labelled_images import LabelledImages, stream_options
from rc_keras.zoo.preprocessing.preprocessing import Preprocessing
from rc_keras.zoo.preprocessing.stored_examples import StoredExamples


def evaluation_batches(
    builder: tfds.core.DatasetBuilder,
    split: str,
    tasks: Iterable[Task],
    preprocessing: Preprocessing,
    batch_size: int,
    only: Sequence[int] | None = None,
) -> tf.data.Dataset:
    """The examples of a split in stored order, padded to the crop, not augmented.

    Args:
        builder, split, tasks: see `training_batches`.
        preprocessing: the `Preprocessing`; of it, `resize` and `crop` are used.
        batch_size: images in a batch; the last may be smaller.
        only: places in the split of the examples to take; `None`: all.

    Returns:
        `tf.data.Dataset` of `(images, {task: labels}, info)`, images and labels as from `training_batches`, labels
        `Task.ignore` in the padding. Labels come from the feature `<task>_for_evaluation` where the data set has one.
        `info["id"]` is the string `(batch,)` of the feature `id`, or the place in the
        split where there is none; `info["box"]` is int32 `(batch, 4)`: top, left, height and width of what is not
        padding, see `crop_back`.

    Raises:
        ValueError: if an argument is wrong or the data set lacks the labels of a task.
        tf.errors.InvalidArgumentError: while iterating, at an image that is larger than the crop.
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1. Received: batch_size={batch_size}")
    examples = LabelledImages(builder, split, tasks, preprocessing.resize, for_evaluation=True)
    target = preprocessing.crop

    def example(index: tf.Tensor) -> tuple[tf.Tensor, Labels, dict[str, tf.Tensor]]:
        image, labels, name = examples.read(index)
        size = tf.shape(image)[:2]
        message = f"Evaluation images must fit into the crop, {list(target)}. Received: image {{}} of size {{}}"
        fits = tf.debugging.Assert(tf.reduce_all(size <= target), [tf.strings.format(message, (name, size))])
        with tf.control_dependencies([fits] if fits is not None else []):
            image = tf.identity(image)
        image, labels, offset = pad(image, labels, examples.tasks, target)
        image, labels = crop(image, labels, examples.tasks, (0, 0), target)  # nothing left to cut: static shapes
        return image, labels, {"id": name, "box": tf.concat([offset, size], axis=0)}

    if only is None:
        places = tf.data.Dataset.range(len(examples))
    else:
        places = tf.data.Dataset.from_tensor_slices(np.asarray(only, "int64"))
    batches = places.map(example, tf.data.AUTOTUNE).batch(batch_size)
    return batches.prefetch(tf.data.AUTOTUNE).with_options(stream_options())


def check_sizes(builder: tfds.core.DatasetBuilder, split: str, preprocessing: Preprocessing) -> None:
    """Checks that every image of a split fits in the crop, where `evaluation_batches` would find out one by one.

    Images are decoded for it, unless the data set or `resize` gives them all one size.

    Raises:
        ValueError: if one does not; names it.
    """
    for index, size in enumerate(_sizes(builder, split, preprocessing)):
        if any(side > limit for side, limit in zip(size, preprocessing.crop, strict=True)):
            raise ValueError(
                f"Images of `{split}` must fit in the crop, {preprocessing.crop}: `resize` makes them smaller. "
                f"Received: image {index} of size {tuple(map(int, size))}"
            )


def is_padded(builder: tfds.core.DatasetBuilder, split: str, preprocessing: Preprocessing) -> bool:
    """Whether `evaluation_batches` pads an image of a split; decodes images like `check_sizes`."""
    crop_size = tuple(preprocessing.crop)
    return any(tuple(size) != crop_size for size in _sizes(builder, split, preprocessing))


def _sizes(
    builder: tfds.core.DatasetBuilder, split: str, preprocessing: Preprocessing
) -> Iterable[Sequence[int] | np.ndarray]:
    """(height, width) of each image before it is padded; one for all of them where that is known."""
    stored = builder.info.features["image"].shape[:2]
    if preprocessing.resize is not None or None not in stored:
        return [preprocessing.resize or stored]
    examples = StoredExamples(builder, split, ["image"])
    shapes = tf.data.Dataset.range(len(examples)).map(
        lambda index: tf.shape(examples.read(index)["image"])[:2], tf.data.AUTOTUNE
    )
    return shapes.with_options(stream_options()).as_numpy_iterator()


def crop_back(pixels: np.ndarray, box: Sequence[int] | np.ndarray) -> np.ndarray:
    """Takes the padding off again.

    Args:
        pixels: prediction, label or image `(height, width, …)` of the crop's size.
        box: its row of `info["box"]`: top, left, height, width.

    Returns:
        The part inside the box, of the size the image had before it was padded.
    """
    top, left, height, width = (int(side) for side in box)
    return pixels[top : top + height, left : left + width]
