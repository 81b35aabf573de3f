"""Folders of pictures, as what a network is calibrated and verified on."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np

from rc_keras.export.images.representative_data import PRECISION

SUFFIXES = (".jpeg", ".jpg", ".png")


def read_images(folder: str | os.PathLike, image_shape: Sequence[int | None], count: int) -> list[np.ndarray]:
    """Reads pictures, spread evenly over a folder's sorted names.

    Args:
        folder: of JPEG and PNG files; what lies in folders inside is read too.
        image_shape: `(height, width, 3)`. Where both are given, the largest centred part of that shape is cut out of a
            picture and resized; where one is `None`, pictures stay as they are.
        count: of pictures at most.

    Returns:
        A list of uint8 arrays `(height, width, 3)`.

    Raises:
        ValueError: if it is no folder, holds no pictures, or one of them cannot be read.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise ValueError(f"A folder of pictures must be a folder. Received: {str(folder)!r}")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ValueError(f"A folder of pictures must hold {', '.join(SUFFIXES)} files. Received: none in {folder}")
    chosen = np.unique(np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int))
    return [_read(paths[index], image_shape) for index in chosen]


def read_representative_data(
    folder: str | os.PathLike, tasks: Sequence[str], image_shape: Sequence[int | None], count: int
) -> list[np.ndarray] | dict[str, list[np.ndarray]]:
    """Reads pictures for calibration: the same for all tasks, or of each task's own folder.

    Args:
        folder: of pictures, or of folders named for the tasks.
        tasks: names of the tasks.
        image_shape, count: see `read_images`; `count` a task.

    Returns:
        What `check_representative_data` takes.

    Raises:
        ValueError: as `read_images`, and if some tasks have folders and others have none.
    """
    own = [name for name in tasks if os.path.isdir(os.path.join(folder, name))]
    if not own:
        return read_images(folder, image_shape, count)
    if len(own) < len(tasks):
        missing = sorted(set(tasks) - set(own))
        raise ValueError(f"`{PRECISION}` needs pictures for every task. Received: {folder} with none for {missing}")
    return {name: read_images(os.path.join(folder, name), image_shape, count) for name in tasks}


def _read(path: pathlib.Path, image_shape: Sequence[int | None]) -> np.ndarray:
    import tensorflow as tf

    try:
        image = tf.io.decode_image(path.read_bytes(), channels=3, expand_animations=False)
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(f"`{path}` must be a JPEG or PNG picture. It cannot be read: {error.message}") from error
    height, width = image_shape[:2]
    if height is None or width is None:
        return image.numpy()
    part = min(image.shape[0] / height, image.shape[1] / width)
    rows, columns = max(int(height * part), 1), max(int(width * part), 1)
    image = tf.image.resize_with_crop_or_pad(image, rows, columns)
    image = tf.image.resize(image, (height, width), antialias=True)
    return np.clip(image.numpy().round(), 0, 255).astype("uint8")
