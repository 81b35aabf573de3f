"""Checks that labels are what a task expects, before a long training run finds out."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rc_keras.tasks.task import Task


def check_labels(task: "Task", labels: np.ndarray, images_shape: Iterable[int]) -> None:
    """Checks one batch of labels, on the host: what all kinds share, then the values as the kind has them.

    Args:
        task: the `Task` the labels belong to.
        labels: NumPy array: of dense kinds `(B, H, W)` or `(B, H, W, 1)`, or `(B, H, W, channels)` where a pixel's
            label has several; without `H` and `W` for the others.
        images_shape: shape of the images of the batch, `(B, H, W, 3)`.

    Raises:
        ValueError: if shape, type or values are wrong; says what was expected and what came.
    """
    labels = np.asarray(labels)
    _check_shape(task, labels, tuple(images_shape))
    kind = task.definition
    is_float = np.issubdtype(labels.dtype, np.floating)
    if not (np.issubdtype(labels.dtype, np.number) or labels.dtype == bool):
        raise wrong_labels(task, "be numbers", f"dtype {labels.dtype}")
    if is_float and not np.all(np.isfinite(labels)):
        count = np.count_nonzero(~np.isfinite(labels))
        raise wrong_labels(task, "be finite", f"{count} values of NaN or infinity")
    if kind.continuous and not is_float:
        raise wrong_labels(task, f"be floating-point {kind.values}{kind.integer_hint}", f"dtype {labels.dtype}")
    kind.check_values(task, labels)


def find_labelled(task: "Task", labels: np.ndarray) -> np.ndarray:
    """Whether a pixel, or an image of a kind that is not dense, carries a label.

    Args:
        task: the `Task` the labels belong to.
        labels: array of a shape that `check_labels` takes, with or without the batch.

    Returns:
        Boolean array, of the labels' shape; without the channels where a pixel's label has several.
    """
    known = labels != task.ignore
    return np.any(known, axis=-1) if task.definition.label_channels(task) > 1 else known


def wrong_labels(task: "Task", expected: str, received: str) -> ValueError:
    """The error about labels that must be something else."""
    return ValueError(f"`{task.name}` labels ({task.kind}) must {expected}. Received: {received}")


def list_values(values: np.ndarray) -> str:
    """Some of the values that are wrong, and how many there are, for `wrong_labels`."""
    unique = np.unique(values)
    listed = ", ".join(f"{v:g}" for v in unique[:5].astype("float64"))
    return f"values {listed}{', …' if len(unique) > 5 else ''} in {values.size} places"


def _check_shape(task: "Task", labels: np.ndarray, images_shape: tuple[int, ...]) -> None:
    if len(images_shape) != 4:
        raise ValueError(f"`images_shape` must be (batch, height, width, 3). Received: {images_shape}")
    kind = task.definition
    shape = images_shape[: 3 if kind.dense else 1]
    channels = kind.label_channels(task)
    allowed = [(*shape, channels)] if channels > 1 else [shape, (*shape, 1)]
    if labels.shape not in allowed:
        expected = " or ".join(str(s) for s in allowed)
        hint = " (class ids, not one-hot vectors)" if kind.of_classes else ""
        raise wrong_labels(
            task, f"be of shape {expected}{hint}", f"shape {labels.shape} with images of shape {images_shape}"
        )
