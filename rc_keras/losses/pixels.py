"""How labels and weights are laid over the pixels of a prediction, for losses and metrics alike."""

from keras import ops

from rc_keras.base.keras_types import Shape, Tensor


def label_map(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Labels of a one-channel task without their channel axis.

    Args:
        y_true: `(B, H, W)` or `(B, H, W, 1)`; for classification `(B,)` or `(B, 1)`.
        y_pred: `(B, H, W, channels)`; for classification `(B, classes)`.

    Returns:
        The labels, `(B, H, W)` or `(B,)`.

    Raises:
        ValueError: if the shapes do not belong together.
    """
    if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] in (1, None):
        y_true = ops.squeeze(y_true, axis=-1)
    if not _agree(tuple(y_true.shape), tuple(y_pred.shape[:-1])):
        raise ValueError(
            "`y_true` must have the shape of `y_pred` up to the channels, with or without a last "
            f"axis of 1. Received: y_true.shape={tuple(y_true.shape)}, "
            f"y_pred.shape={tuple(y_pred.shape)}"
        )
    return y_true


def binary_map(y_true: Tensor, y_pred: Tensor, ignore: int) -> tuple[Tensor, Tensor]:
    """Labels of 0 and 1 of a one-channel task.

    Args:
        y_true, y_pred: see `label_map`. A label between 0 and 1, as resizing makes them, is rounded.
        ignore: label of the pixels to leave out.

    Returns:
        Boolean maps `(B, H, W)`: where the label is 1, and where it counts: it lies in [0, 1] and is not `ignore`.
    """
    labels = label_map(y_true, y_pred)
    return labels >= 0.5, (labels != ignore) & (labels >= 0.0) & (labels <= 1.0)


def number_map(y_true: Tensor, y_pred: Tensor, ignore: int) -> tuple[Tensor, Tensor]:
    """Labels of a task of numbers.

    Args:
        y_true: of the prediction's shape; without the channels too where it has one.
        y_pred: `(B, H, W, C)`.
        ignore: label, in all channels, of the pixels to leave out.

    Returns:
        The labels, of the prediction's shape, and a boolean map `(B, H, W)`: where they count.
    """
    if y_pred.shape[-1] == 1:
        y_true = ops.expand_dims(label_map(y_true, y_pred), -1)
    labels = vector_map(y_true, y_pred)
    return labels, ops.any(labels != ignore, axis=-1)


def vector_map(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Labels that have as many channels as the prediction, checked to have its shape."""
    if not _agree(tuple(y_true.shape), tuple(y_pred.shape)):
        raise ValueError(
            "`y_true` must have the shape of `y_pred`. Received: "
            f"y_true.shape={tuple(y_true.shape)}, y_pred.shape={tuple(y_pred.shape)}"
        )
    return y_true


def weight_map(sample_weight: Tensor, rank: int) -> Tensor:
    """Weights made broadcastable to a map of the given rank.

    Args:
        sample_weight: `(B,)`, or anything that broadcasts to the pixels, with or without a last
            axis of 1.
        rank: rank of the map: 3 for dense tasks, 1 for classification.

    Returns:
        A float32 tensor of that rank.
    """
    weight = ops.convert_to_tensor(sample_weight, dtype="float32")
    if len(weight.shape) == rank + 1 and weight.shape[-1] in (1, None):
        weight = ops.squeeze(weight, axis=-1)
    if len(weight.shape) > rank:
        raise ValueError(
            "`sample_weight` must be of shape (B,) or broadcast to the pixels. Received: "
            f"sample_weight.shape={tuple(weight.shape)}"
        )
    while len(weight.shape) < rank:
        weight = ops.expand_dims(weight, axis=-1)
    return weight


def _agree(shape: Shape, expected: Shape) -> bool:
    return len(shape) == len(expected) and all(
        a == b or a is None or b is None for a, b in zip(shape, expected, strict=True)
    )
