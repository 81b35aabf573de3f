"""A picture of what the augmentation does."""

import os
from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from rc_keras.tasks.task import Task
from rc_keras.zoo.picture_grid import write_grid
from rc_keras.zoo.preprocessing.augmentation import Labels, augment, example_seed
from rc_keras.zoo.preprocessing.labelled_images import LabelledImages
from rc_keras.zoo.preprocessing.preprocessing import Preprocessing

VERSIONS = 2
_WIDEST = 128  # pixels; wider pictures are reduced


def write_contact_sheet(
    path: str | os.PathLike,
    builder: tfds.core.DatasetBuilder,
    split: str,
    tasks: Iterable[Task],
    preprocessing: Preprocessing,
    seed: int,
    rows: int = 6,
) -> None:
    """Draws the first examples of a split: as stored, then augmented, labels beside each image.

    Args:
        path: of the PNG; appears whole or not at all.
        builder, split, tasks, preprocessing, seed: see `training_batches`.
        rows: examples to draw, one a row.
    """
    tasks = list(tasks)
    examples = LabelledImages(builder, split, tasks, preprocessing.resize)

    def versions(index: tf.Tensor) -> list[tuple[tf.Tensor, Labels]]:
        image, labels, _ = examples.read(index)
        drawn = [augment(image, labels, tasks, preprocessing, example_seed(seed, e, index)) for e in range(VERSIONS)]
        return [(image, labels), *drawn]

    shown = tf.data.Dataset.range(min(rows, len(examples))).map(lambda index: tuple(versions(index)))
    grid = [[picture for version in row for picture in _draw(tasks, *version)] for row in shown.as_numpy_iterator()]
    names = [task.name for task in _with_pixels(tasks)]
    headings = ["stored", *(f"version {i + 1}" for i in range(VERSIONS))]
    write_grid(path, [title for heading in headings for title in (heading, *names)], grid)


def _with_pixels(tasks: Iterable[Task]) -> list[Task]:
    return [task for task in tasks if task.definition.dense]


def _draw(tasks: Iterable[Task], image: np.ndarray, labels: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    return [_reduce(image), *(_reduce(task.draw_label(labels[task.name])) for task in _with_pixels(tasks))]


def _reduce(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    if width <= _WIDEST:
        return picture
    # Nearest: mixed colours would be colours of other classes.
    size = _WIDEST, max(round(height * _WIDEST / width), 1)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.NEAREST))
