"""What the files of labels mean, by the kind of their task."""

import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from rc_keras.tasks.task import Task
from rc_keras.zoo.datasets import label_checks
from rc_keras.zoo.datasets.ordered_map import ordered_map


def stored_dtype(task: Task) -> type[np.generic]:
    """The smallest of uint8, uint16 and int32 that holds a task's labels and its `ignore`; float32 for numbers."""
    if task.definition.continuous:
        return np.float32
    highest = max(task.channels - 1, 1, task.ignore)
    if task.ignore >= 0:
        for dtype in (np.uint8, np.uint16):
            if highest <= np.iinfo(dtype).max:
                return dtype
    return np.int32


def find_foreground(task: Task, paths: Iterable[pathlib.Path]) -> int:
    """The value that says "yes" in the labels of a binary task: 1, or 255 if no file holds a 1.

    Args:
        task: the task.
        paths: all its files, for one file alone may hold no foreground.

    Returns:
        1 or 255; 1 for the other kinds.
    """
    if not task.definition.binary:
        return 1
    return 1 if any(ordered_map(lambda path: np.any(_read_numbers(path) == 1), paths)) else 255


def read_label(path: pathlib.Path, task: Task, size: Sequence[int], foreground: int) -> np.ndarray:
    """Reads and checks one label.

    Args:
        path: the file, `.png` or `.npy`.
        task: its task.
        size: (height, width) of its image.
        foreground: of labels of binary kinds, see `find_foreground`.

    Returns:
        Array of `stored_dtype(task)`, (height, width, channels): 1 but for continuous labels of several.

    Raises:
        ValueError: if the file is damaged, or its size, type or values are wrong.
    """
    kind = task.definition
    is_pixels = path.suffix.lower() == ".png"
    values = _read_rgb(path) if kind.label_channels(task) == 3 else _read_numbers(path)
    label_checks.check_size(path, values, size)
    if kind.binary:
        values = _binary(path, task, values, foreground)
    else:
        values = label_checks.decoded(path, task, values, is_pixels)
    values = values.astype(stored_dtype(task))
    return values if kind.label_channels(task) > 1 else values[..., None]


def _read_rgb(path: pathlib.Path) -> np.ndarray:
    return label_checks.read_rgb(path) if path.suffix.lower() == ".png" else label_checks.read_npy(path)


def _read_numbers(path: pathlib.Path) -> np.ndarray:
    return label_checks.read_png(path) if path.suffix.lower() == ".png" else label_checks.read_npy(path)


def _binary(path: pathlib.Path, task: Task, values: np.ndarray, foreground: int) -> np.ndarray:
    allowed = [0, foreground] if foreground == task.ignore else [0, foreground, task.ignore]
    wrong = ~np.isin(values, allowed)
    if values.ndim != 2 or np.any(wrong):
        found = ", ".join(str(v) for v in np.unique(values[wrong])[:5])
        raise ValueError(
            f"`{path}` must be (height, width) of 0 and 255, or 0, 1 and {task.ignore} to be ignored, the same in all "
            f"files of {task.name!r}; here {foreground} is the foreground. Received: shape {values.shape}, also {found}"
        )
    return np.where(values == foreground, 1, values)
