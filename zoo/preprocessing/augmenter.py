"""The augmentation of the recipes for a `tf.data` pipeline of one's own."""

from collections.abc import Callable, Iterable, Mapping

import tensorflow as tf

from rc_keras.tasks.task import Task
from rc_keras.zoo.preprocessing.augmentation import Labels, augment, example_seed, resize, standard_labels
from rc_keras.zoo.preprocessing.preprocessing import Preprocessing


def augmenter(
    tasks: Iterable[Task | str], preprocessing: Preprocessing, seed: int = 0
) -> Callable[[tf.Tensor, tuple[tf.Tensor, Mapping[str, tf.Tensor]]], tuple[tf.Tensor, Labels]]:
    """A function for `tf.data.Dataset.map` that scales, pads, crops and mirrors an image and its labels alike.

    It maps `(number, (image, {task: label}))`, as `enumerate` makes them, to `(image, {task: label})` of the crop's
    size. What is random follows from the seed and the number: enumerate after `repeat`, so that every epoch draws anew.
    What is padded carries `Task.ignore`, which counts neither in losses nor in metrics; normals and depth change with
    the image. Image: uint8 `(height, width, 3)`, RGB. Labels: `(height, width)` or `(height, width, channels)`, of
    classifications one class id; keys that are no task are left out.

    Example, street scenes with the ignore label 255:

    >>> import numpy as np
    >>> import tensorflow as tf
    >>> import rc_keras
    >>> from rc_keras.zoo.preprocessing import Preprocessing, augmenter
    >>> streets = rc_keras.Task("streets", channels=19, kind="segmentation", ignore=255)
    >>> images, labels = np.zeros((4, 40, 80, 3), "uint8"), np.full((4, 40, 80), 255, "uint8")
    >>> data = tf.data.Dataset.from_tensor_slices((images, {"streets": labels}))
    >>> how = Preprocessing(crop=(32, 64), scales=(0.5, 1.0, 2.0))
    >>> data = data.shuffle(4).repeat().enumerate().map(augmenter([streets], how, seed=0), tf.data.AUTOTUNE)
    >>> for image, label in data.batch(2).take(1):
    ...     print(image.shape, label["streets"].shape)
    (2, 32, 64, 3) (2, 32, 64, 1)

    Args:
        tasks: the `Task`s, or names of the catalogue.
        preprocessing: the `Preprocessing`: crop, scales, mirroring, and a size to resize to before.
        seed: integer, base of all that is random.

    Raises:
        ValueError: while mapped, if labels of a task are missing or images are not uint8 `(height, width, 3)`.
        tf.errors.InvalidArgumentError: in the pipeline, if a label is not as large as its image.
    """
    wanted = [Task.get(task) for task in tasks]

    def apply(number: tf.Tensor, example: tuple[tf.Tensor, Mapping[str, tf.Tensor]]) -> tuple[tf.Tensor, Labels]:
        image, labels = example
        if image.dtype != tf.uint8 or image.shape.rank != 3 or image.shape[-1] != 3:
            raise ValueError(
                f"An image must be uint8 of shape (height, width, 3). Received: {image.dtype.name} of {image.shape}"
            )
        missing = [task.name for task in wanted if task.name not in labels]
        if missing:
            raise ValueError(f"Labels must hold every task; they lack {missing}. Received: labels of {sorted(labels)}")
        image, known = standard_labels(image, dict(labels), wanted)
        if preprocessing.resize is not None:
            image, known = resize(image, known, wanted, preprocessing.resize)
        return augment(image, known, wanted, preprocessing, example_seed(seed, 0, number))

    return apply
