"""The pictures of the page: images, truths, answers and samples that explain their colours."""

import pathlib
from collections.abc import Iterable, Mapping

import numpy as np
from PIL import Image

from rc_keras.files.whole_files import whole_file
from rc_keras.tasks.task import Task


def write_pictures(
    folder: pathlib.Path,
    tasks: Iterable[Task],
    shown: Mapping[str, np.ndarray],
    answers: Mapping[str, Mapping[str, np.ndarray]],
) -> tuple[float, float]:
    """Writes `<i>-image.png`, and `<i>-<task>-truth.png` and `<i>-<task>-<model>.png` for each task.

    Args:
        folder: where.
        tasks: the `Task`s.
        shown: `{feature: array}` of the images and their labels.
        answers: `{model: {task: activated predictions}}`; not each model needs to have each task.

    Returns:
        The range of the depth colours in metres, `(near, far)`; of the truth of all images.
    """
    depths = shown["depth"][shown["depth"] > 0]
    depth_range = float(depths.min()), float(depths.max())
    for i, image in enumerate(shown["image"]):
        write_picture(folder / f"{i}-image.png", image)
        for task in tasks:
            scale = depth_range if task.definition.colour_scale else None
            write_picture(
                folder / f"{i}-{task.name}-truth.png", task.draw_label(shown[task.name][i], depth_range=scale)
            )
            for model, predictions in answers.items():
                if task.name in predictions:
                    drawn = task.draw(predictions[task.name][i], activated=True, depth_range=scale)
                    write_picture(folder / f"{i}-{task.name}-{model}.png", drawn)
    return depth_range


def write_picture(path: pathlib.Path, pixels: np.ndarray) -> None:
    """Writes pixels `(height, width, channels)`, uint8, as a PNG; it appears whole or not at all."""
    with whole_file(path) as temporary:
        Image.fromarray(pixels).save(temporary)
