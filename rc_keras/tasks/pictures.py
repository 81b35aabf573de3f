"""Pictures of a task's predictions and labels: what is the same for all kinds."""

from typing import TYPE_CHECKING

import numpy as np

from rc_keras.tasks import kinds
from rc_keras.tasks.labels import find_labelled

if TYPE_CHECKING:
    from rc_keras.tasks.task import Task


def draw(
    task: "Task", prediction: np.ndarray, activated: bool = False, depth_range: tuple[float, float] | None = None
) -> np.ndarray:
    """Draws a prediction; see `Task.draw`.

    Args:
        task: the `Task` it belongs to.
        prediction: NumPy array `(H, W, channels)` or `(B, H, W, channels)`.
        activated: the prediction went through `Task.activate` already.
        depth_range: see `drawing.draw_depth`.

    Returns:
        uint8 array, `(H, W, 3)` or `(B, H, W, 3)`.
    """
    _check_drawable(task, depth_range)
    if prediction.ndim not in (3, 4) or prediction.shape[-1] != task.channels:
        raise ValueError(
            f"A prediction of task {task.name!r} must be of shape (H, W, {task.channels}) or "
            f"(B, H, W, {task.channels}). Received: shape {prediction.shape}"
        )
    return task.definition.draw(task, prediction, activated, depth_range)


def draw_label(task: "Task", label: np.ndarray, depth_range: tuple[float, float] | None = None) -> np.ndarray:
    """Draws labels as `draw` draws predictions, ignored pixels in `drawing.IGNORED_COLOUR`.

    Args:
        task: the `Task` they belong to.
        label: NumPy array; shapes as for `Task.draw_label`.
        depth_range: see `drawing.draw_depth`.

    Returns:
        uint8 array, `(H, W, 3)` or `(B, H, W, 3)`.
    """
    _check_drawable(task, depth_range)
    channels = task.definition.label_channels(task)
    if channels > 1:
        shapes = f"(H, W, {channels}) or (B, H, W, {channels})"
        right = label.ndim in (3, 4) and label.shape[-1] == channels
    else:
        shapes = "(H, W), (H, W, 1), (B, H, W) or (B, H, W, 1)"
        if label.ndim in (3, 4) and label.shape[-1] == 1:
            label = label[..., 0]
        right = label.ndim in (2, 3)
    if not right:
        raise ValueError(f"A label of task {task.name!r} must be of shape {shapes}. Received: shape {label.shape}")
    return task.definition.draw_label(task, label, ~find_labelled(task, label), depth_range)


def _check_drawable(task: "Task", depth_range: tuple[float, float] | None) -> None:
    kind = task.definition
    if not kind.dense:
        raise ValueError(
            f"A task to draw must have a map. Received: task {task.name!r} of kind {kind.name}, "
            f"whose answer is one {'class' if kind.of_classes else 'vector'} an image"
        )
    if depth_range is not None:
        if not kind.colour_scale:
            raise ValueError(
                f"`depth_range` must be None but for {' and '.join(kinds.names_where('colour_scale'))}. Received: "
                f"depth_range={depth_range!r} for task {task.name!r} of kind {kind.name}"
            )
        near, far = depth_range
        if not near < far:
            ends = "(near, far) in metres, near < far" if kind.name == "depth" else "(low, high), low < high"
            unit = f" in {kind.unit_of(task)}" if kind.name != "depth" and kind.unit_of(task) else ""
            raise ValueError(f"`depth_range` must be {ends}{unit}. Received: depth_range={depth_range!r}")
