"""The pictures of the page: images, truths, answers and the key to the normals' colours."""

import pathlib
from collections.abc import Iterable, Mapping

import numpy as np
from PIL import Image

from rc_keras.files.whole_files import whole_file
from rc_keras.tasks import drawing
from rc_keras.tasks.task import Task


def write_pictures(
    folder: pathlib.Path, tasks: Iterable[Task], shown: Mapping[str, np.ndarray], answers: Mapping[str, np.ndarray]
) -> tuple[float, float]:
    """Writes `<i>-image.png`, and `<i>-<task>-truth.png` and `<i>-<task>-answer.png` for each task.

    Args:
        folder: where.
        tasks: the `Task`s.
        shown: `{feature: array}` of the images and their labels.
        answers: `{task: activated predictions}`.

    Returns:
        The range of the depth colours in metres, `(near, far)`; of the truth of all images.
    """
    depths = shown["depth"][shown["depth"] > 0]
    depth_range = float(depths.min()), float(depths.max())
    for i, image in enumerate(shown["image"]):
        _write(folder / f"{i}-image.png", image)
        for task in tasks:
            scale = depth_range if task.kind == "depth" else None
            _write(folder / f"{i}-{task.name}-truth.png", task.draw_label(shown[task.name][i], depth_range=scale))
            answer = task.draw(answers[task.name][i], activated=True, depth_range=scale)
            _write(folder / f"{i}-{task.name}-answer.png", answer)
    return depth_range


def write_normals_key(path: pathlib.Path, size: int = 192) -> None:
    """Draws a ball as the camera sees it, each point in the colour of its normal."""
    x, y = np.meshgrid(*[(np.arange(size) + 0.5) / size * 2 - 1] * 2)
    inside = x**2 + y**2 <= 1
    normals = np.stack([x, y, -np.sqrt(np.maximum(1 - x**2 - y**2, 0))], axis=-1)
    ball = drawing.draw_normals(normals)
    alpha = np.where(inside, 255, 0).astype("uint8")
    _write(path, np.concatenate([ball, alpha[..., None]], axis=-1))


def _write(path: pathlib.Path, pixels: np.ndarray) -> None:
    with whole_file(path) as temporary:
        Image.fromarray(pixels).save(temporary)
