"""A picture of what the augmentation does."""

import os
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from rc_keras.tasks.task import Task
from rc_keras.zoo.picture_grid import write_grid
from rc_keras.zoo.preprocessing.augmentation import Labels, augment, example_seed
from rc_keras.zoo.preprocessing.labelled_images import LabelledImages, spread
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
    """Draws some examples of a split: as stored, then augmented, labels beside each image; below, what colours mean.

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

    places = np.array(spread(len(examples), rows), "int64")
    drawn = tf.data.Dataset.from_tensor_slices(places).map(lambda index: tuple(versions(index)))
    shown = list(drawn.as_numpy_iterator())
    ranges = {task.name: _range(task, shown) for task in tasks if task.definition.colour_scale}
    grid = [[picture for image, labels in row for picture in _draw(tasks, image, labels, ranges)] for row in shown]
    names = [task.name for task in _with_pixels(tasks)]
    legends = {
        task.name: task.definition.legend(task, ranges.get(task.name, (0.0, 1.0))) for task in _with_pixels(tasks)
    }
    headings = ["stored", *(f"version {i + 1}" for i in range(VERSIONS))]
    write_grid(path, [title for heading in headings for title in (heading, *names)], grid, legends)


def _with_pixels(tasks: Iterable[Task]) -> list[Task]:
    return [task for task in tasks if task.definition.dense]


def _range(task: Task, rows: Sequence[Sequence[tuple[np.ndarray, Mapping[str, np.ndarray]]]]) -> tuple[float, float]:
    """The ends of the scale of colours of all labels of a task."""
    ends = [task.definition.picture_range(task, labels[task.name]) for row in rows for _, labels in row]
    return min(low for low, _ in ends), max(high for _, high in ends)


def _draw(
    tasks: Iterable[Task],
    image: np.ndarray,
    labels: Mapping[str, np.ndarray],
    ranges: Mapping[str, tuple[float, float]],
) -> list[np.ndarray]:
    drawn = [task.draw_label(labels[task.name], ranges.get(task.name)) for task in _with_pixels(tasks)]
    return [_reduce(picture) for picture in (image, *drawn)]


def _reduce(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    if width <= _WIDEST:
        return picture
    # Nearest: mixed colours would be colours of other classes.
    size = _WIDEST, max(round(height * _WIDEST / width), 1)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.NEAREST))
