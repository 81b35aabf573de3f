"""Pictures of predictions and labels, as uint8 RGB arrays; NumPy alone."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rc_keras.tasks.task import Task

# Occurs in no map drawn here: the palette lacks it, greys and viridis cannot reach it, and no unit
# normal maps to it.
IGNORED_COLOUR = np.array([255, 0, 255], "uint8")

# Viridis (van der Walt and Smith; public domain) at ten equal steps.
_VIRIDIS = np.array(
    [
        (68, 1, 84),
        (72, 40, 120),
        (62, 74, 137),
        (49, 104, 142),
        (38, 130, 142),
        (31, 158, 137),
        (53, 183, 121),
        (109, 205, 89),
        (180, 222, 44),
        (253, 231, 37),
    ],
    "float64",
)
DEPTH_COLOURS = np.stack([np.interp(np.linspace(0, 9, 256), np.arange(10), channel) for channel in _VIRIDIS.T], axis=-1)
DEPTH_COLOURS = np.round(DEPTH_COLOURS).astype("uint8")


def draw(
    task: "Task", prediction: np.ndarray, activated: bool = False, depth_range: tuple[float, float] | None = None
) -> np.ndarray:
    """Draws a prediction; see `Task.draw`.

    Args:
        task: The `Task` it belongs to.
        prediction: NumPy array `(H, W, channels)` or `(B, H, W, channels)`.
        activated: The prediction went through `Task.activate` already.
        depth_range: See `draw_depth`.

    Returns:
        uint8 array, `(H, W, 3)` or `(B, H, W, 3)`.
    """
    _check_drawable(task, depth_range)
    if prediction.ndim not in (3, 4) or prediction.shape[-1] != task.channels:
        raise ValueError(
            f"A prediction of task {task.name!r} must be of shape (H, W, {task.channels}) or "
            f"(B, H, W, {task.channels}). Received: shape {prediction.shape}"
        )
    if task.kind == "segmentation":
        return draw_classes(np.argmax(prediction, axis=-1), task.channels)
    if task.kind == "normals":
        return draw_normals(prediction)
    if task.kind == "depth":
        return draw_depth(prediction[..., 0], depth_range=depth_range)
    if not activated:
        prediction = 0.5 * (1.0 + np.tanh(0.5 * prediction))  # a sigmoid that cannot overflow
    return draw_probabilities(prediction[..., 0])


def draw_label(task: "Task", label: np.ndarray, depth_range: tuple[float, float] | None = None) -> np.ndarray:
    """Draws labels as `draw` draws predictions, ignored pixels in `IGNORED_COLOUR`.

    Args:
        task: The `Task` they belong to.
        label: NumPy array; shapes as for `Task.draw_label`.
        depth_range: See `draw_depth`.

    Returns:
        uint8 array, `(H, W, 3)` or `(B, H, W, 3)`.
    """
    _check_drawable(task, depth_range)
    if task.kind == "normals":
        if label.ndim not in (3, 4) or label.shape[-1] != 3:
            raise ValueError(
                f"A label of task {task.name!r} must be of shape (H, W, 3) or (B, H, W, 3). "
                f"Received: shape {label.shape}"
            )
        return draw_normals(label, np.all(label == 0, axis=-1))
    if label.ndim in (3, 4) and label.shape[-1] == 1:
        label = label[..., 0]
    if label.ndim not in (2, 3):
        raise ValueError(
            f"A label of task {task.name!r} must be of shape (H, W), (H, W, 1), (B, H, W) or "
            f"(B, H, W, 1). Received: shape {label.shape}"
        )
    ignored = label == task.ignore
    if task.kind == "segmentation":
        return _mark(draw_classes(label, task.channels), ignored)
    if task.kind == "depth":
        return draw_depth(label, ignored, depth_range)
    return draw_probabilities(label, ignored)


def class_palette(count: int) -> np.ndarray:
    """The PASCAL VOC colours: class 0 is black, and no two classes share a colour.

    The bits of the class id are dealt to red, green and blue in turn, and fill each channel from
    its highest bit down.

    Args:
        count: Number of classes.

    Returns:
        uint8 array of shape `(count, 3)`.
    """
    ids = np.arange(count)
    palette = np.zeros((count, 3), "uint8")
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((ids >> (3 * bit + channel)) & 1) << (7 - bit)).astype("uint8")
    return palette


def draw_classes(ids: np.ndarray, count: int) -> np.ndarray:
    """Class ids `(…)` in the colours of `class_palette`; an id outside 0 … count − 1 is marked."""
    ids = np.asarray(ids)
    known = (ids >= 0) & (ids < count)
    return _mark(class_palette(count)[np.where(known, ids, 0).astype("int64")], ~known)


def draw_probabilities(probability: np.ndarray, ignored: np.ndarray | None = None) -> np.ndarray:
    """Probabilities `(…)` as grey, 0 black and 1 white."""
    grey = _to_bytes(probability)
    return _mark(np.stack([grey] * 3, axis=-1), ignored)


def draw_normals(normals: np.ndarray, ignored: np.ndarray | None = None) -> np.ndarray:
    """Unit vectors `(…, 3)` as (n + 1) / 2 in red, green and blue."""
    return _mark(_to_bytes((np.asarray(normals, "float32") + 1.0) / 2.0), ignored)


def draw_depth(
    depth: np.ndarray, ignored: np.ndarray | None = None, depth_range: tuple[float, float] | None = None
) -> np.ndarray:
    """Depth `(…)` in viridis, near bright and far dark.

    Args:
        depth: Metres.
        ignored: Boolean map of pixels to mark. Pixels that are not finite are marked as well.
        depth_range: Nearest and farthest depth of the scale in metres; None takes those of the
            array, all images of a batch sharing one scale.

    Returns:
        uint8 array `(…, 3)`.
    """
    depth = np.asarray(depth, "float64")
    ignored = ~np.isfinite(depth) | (False if ignored is None else ignored)
    shown = depth[~ignored]
    if depth_range is None:
        depth_range = (shown.min(), shown.max()) if shown.size else (0.0, 1.0)
    near, far = depth_range
    scaled = (far - np.where(ignored, far, depth)) / max(far - near, 1e-12)
    return _mark(DEPTH_COLOURS[_to_bytes(scaled)], ignored)


def _check_drawable(task: "Task", depth_range: tuple[float, float] | None) -> None:
    if task.kind == "classification":
        raise ValueError(
            f"A task to draw must have a map. Received: task {task.name!r} of kind classification, "
            "whose answer is one class an image"
        )
    if depth_range is not None:
        if task.kind != "depth":
            raise ValueError(
                "`depth_range` must be None but for depth. Received: "
                f"depth_range={depth_range!r} for task {task.name!r} of kind {task.kind}"
            )
        near, far = depth_range
        if not near < far:
            raise ValueError(
                f"`depth_range` must be (near, far) in metres, near < far. Received: depth_range={depth_range!r}"
            )


def _to_bytes(values: np.ndarray) -> np.ndarray:
    values = np.nan_to_num(np.asarray(values, "float32"))
    return np.round(np.clip(values, 0.0, 1.0) * 255.0).astype("uint8")


def _mark(picture: np.ndarray, ignored: np.ndarray | None) -> np.ndarray:
    if ignored is not None:
        picture[ignored] = IGNORED_COLOUR
    return picture
