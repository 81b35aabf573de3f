"""Checks that labels are what a task expects, before a long training run finds out."""

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rc_keras.tasks.task import Task

# A typical normal must have length 1 within 5 %: JPEG coding moves single ones by more, a wrong
# decoding moves all of them.
_LENGTH_TOLERANCE = 0.05


def check_labels(task: "Task", labels: np.ndarray, images_shape: Iterable[int]) -> None:
    """Checks one batch of labels, on the host.

    Args:
        task: The `Task` the labels belong to.
        labels: NumPy array: class ids `(B, H, W)` or `(B, H, W, 1)` for segmentation, maps of 0, 1
            and `ignore` for edge and saliency, unit vectors `(B, H, W, 3)` (zero: no label) for
            normals, metres `(B, H, W)` or `(B, H, W, 1)` (zero: no label) for depth, class ids
            `(B,)` or `(B, 1)` for classification.
        images_shape: Shape of the images of the batch, `(B, H, W, 3)`.

    Raises:
        ValueError: If shape, type or values are wrong; says what was expected and what came.
    """
    labels = np.asarray(labels)
    _check_shape(task, labels, tuple(images_shape))
    if not (np.issubdtype(labels.dtype, np.number) or labels.dtype == bool):
        raise _error(task, "be numbers", f"dtype {labels.dtype}")
    if np.issubdtype(labels.dtype, np.floating) and not np.all(np.isfinite(labels)):
        count = np.count_nonzero(~np.isfinite(labels))
        raise _error(task, "be finite", f"{count} values of NaN or infinity")
    _VALUES[task.kind](task, labels)


def _check_shape(task: "Task", labels: np.ndarray, images_shape: tuple[int, ...]) -> None:
    if len(images_shape) != 4:
        raise ValueError(f"`images_shape` must be (batch, height, width, 3). Received: {images_shape}")
    shape: tuple[int, ...]
    if task.kind == "classification":
        shape, hint = images_shape[:1], " (class ids, not one-hot vectors)"
    elif task.kind == "normals":
        shape, hint = (*images_shape[:3], 3), ""
    else:
        shape = images_shape[:3]
        hint = " (class ids, not one-hot vectors)" if task.kind == "segmentation" else ""
    allowed = [shape] if task.kind == "normals" else [shape, (*shape, 1)]
    if labels.shape not in allowed:
        expected = " or ".join(str(s) for s in allowed)
        raise _error(
            task,
            f"be of shape {expected}{hint}",
            f"shape {labels.shape} with images of shape {images_shape}",
        )


def _check_class_ids(task: "Task", labels: np.ndarray) -> None:
    if np.issubdtype(labels.dtype, np.floating) and np.any(labels != np.round(labels)):
        wrong = _some(labels[labels != np.round(labels)])
        raise _error(task, "be whole class ids (were they resized bilinearly?)", wrong)
    wrong = (labels != task.ignore) & ((labels < 0) | (labels >= task.channels))
    if np.any(wrong):
        expected = f"be class ids in 0 … {task.channels - 1}, or {task.ignore} to be ignored"
        raise _error(task, expected, _some(labels[wrong]))


def _check_binary(task: "Task", labels: np.ndarray) -> None:
    wrong = (labels != 0) & (labels != 1) & (labels != task.ignore)
    if np.any(wrong):
        raise _error(task, f"be 0, 1, or {task.ignore} to be ignored", _some(labels[wrong]))
    if task.ignore == 255 and np.any(labels == 255) and not np.any(labels == 1):
        warnings.warn(
            f"`{task.name}` labels hold 255, which is ignored, and no 1. If 255 stands for the "
            "foreground, divide the labels by 255.",
            stacklevel=4,
        )


def _check_normals(task: "Task", labels: np.ndarray) -> None:
    if not np.issubdtype(labels.dtype, np.floating):
        expected = "be floating-point unit vectors (8-bit normals decode as 2 v / 255 - 1)"
        raise _error(task, expected, f"dtype {labels.dtype}")
    length = np.sqrt(np.sum(np.square(labels, dtype="float64"), axis=-1))
    length = length[length > 0]
    if not length.size:
        return
    typical = np.median(length)
    if abs(typical - 1.0) > _LENGTH_TOLERANCE or np.max(np.abs(labels)) > 1.0 + _LENGTH_TOLERANCE:
        raise _error(
            task,
            "be vectors of length 1 within 5 %, or zero where there is no label",
            f"vectors of median length {typical:.3g} and components in {labels.min():.3g} … {labels.max():.3g}",
        )


def _check_depth(task: "Task", labels: np.ndarray) -> None:
    if not np.issubdtype(labels.dtype, np.floating):
        expected = "be floating-point metres (were they millimetres?)"
        raise _error(task, expected, f"dtype {labels.dtype}")
    if np.any(labels < 0):
        expected = "be metres above 0, or 0 where there is no label"
        raise _error(task, expected, _some(labels[labels < 0]))


_VALUES = {
    "segmentation": _check_class_ids,
    "classification": _check_class_ids,
    "edge": _check_binary,
    "saliency": _check_binary,
    "normals": _check_normals,
    "depth": _check_depth,
}


def _error(task: "Task", expected: str, received: str) -> ValueError:
    return ValueError(f"`{task.name}` labels ({task.kind}) must {expected}. Received: {received}")


def _some(values: np.ndarray) -> str:
    unique = np.unique(values)
    listed = ", ".join(f"{v:g}" for v in unique[:5].astype("float64"))
    return f"values {listed}{', …' if len(unique) > 5 else ''} in {values.size} places"
