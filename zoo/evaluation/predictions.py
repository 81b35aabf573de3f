"""A picture of what a model answers: images, labels and predictions in a grid."""

import os
from collections.abc import Iterable, Mapping

import numpy as np

from rc_keras.tasks.task import Task
from rc_keras.zoo.picture_grid import write_grid
from rc_keras.zoo.preprocessing import crop_back


def write_predictions(
    path: str | os.PathLike,
    tasks: Iterable[Task],
    images: np.ndarray,
    labels: Mapping[str, np.ndarray],
    predictions: Mapping[str, np.ndarray],
    boxes: np.ndarray,
) -> None:
    """Draws one row for each image: the image, then label and prediction of each task; below, what colours mean.

    Args:
        path: of the PNG.
        tasks: the `Task`s.
        images: `(n, height, width, 3)` uint8.
        labels: `{task: labels}`.
        predictions: `{task: raw predictions}`.
        boxes: `(n, 4)`, the part of each image that is not padding: top, left, height, width.
    """
    titles, legends = ["image"], {}
    rows = [[crop_back(image, box)] for image, box in zip(images, boxes, strict=True)]
    for task in tasks:
        titles += [f"{task.name}: label", f"{task.name}: prediction"]
        kind = task.definition
        depth_range = kind.picture_range(task, labels[task.name]) if kind.colour_scale else None
        legends[task.name] = kind.legend(task, depth_range or (0.0, 1.0))
        truth = task.draw_label(labels[task.name], depth_range=depth_range)
        answer = task.draw(predictions[task.name], depth_range=depth_range)
        for row, box, *pictures in zip(rows, boxes, truth, answer, strict=True):
            row += [crop_back(picture, box) for picture in pictures]
    write_grid(path, titles, rows, legends)
