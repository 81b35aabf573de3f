"""The first batch of whatever `fit`, `evaluate` and `predict` take, for checks on the host."""

import types
import warnings

import keras
import numpy as np


def peek(x, y=None, sample_weight=None, batch_size=None):
    """Looks at the first batch of training data without losing it.

    Args:
        x, y, sample_weight, batch_size: as in `keras.Model.fit`: arrays, a `tf.data.Dataset`, a
            `keras.utils.PyDataset`, a torch `DataLoader`, or a generator.

    Returns:
        `(x, batch)`: `x` to be used from now on, and the first batch, a tuple `(images, labels, …)` or images alone;
        `None` if the data cannot be looked at without consuming it.
    """
    if isinstance(x, types.GeneratorType):
        first = next(x, None)
        if first is None:
            raise ValueError("The generator must yield at least one batch. Received: an empty one")
        return _restored(first, x), first
    if isinstance(x, keras.utils.PyDataset):
        return x, x[0]
    if hasattr(x, "element_spec") or hasattr(x, "batch_sampler"):
        # A distributed dataset answers one value for each replica; it was checked before it was distributed.
        if "Distributed" in type(x).__name__:
            return x, None
        first = next(iter(x), None)
        if first is None:
            raise ValueError("The dataset must hold at least one batch. Received: an empty one")
        return x, first
    if not all(hasattr(a, "shape") for a in keras.tree.flatten((x, y)) if a is not None):
        return x, None
    n = batch_size or 32
    batch = keras.tree.map_structure(lambda a: a[:n] if hasattr(a, "shape") else a, (x, y, sample_weight))
    return x, batch if y is not None else batch[:1]


def _restored(first, rest):
    yield first
    yield from rest


def check_images(images, image_shape):
    """Checks a batch of images on the host.

    Args:
        images: the batch.
        image_shape: `(height, width, channels)` the model takes, `None` where it takes any.

    Raises:
        ValueError: if the shape or the dtype is wrong.

    Warns:
        UserWarning: if the values look normalized already instead of 0..255.
    """
    check_image_spec(images, image_shape)
    values = keras.ops.convert_to_numpy(images)
    if values.dtype.kind != "f" or not values.size:
        return
    low, high = float(np.min(values)), float(np.max(values))
    if not np.isfinite([low, high]).all():
        raise ValueError(f"Images must be finite. Received: values from {low} to {high}")
    if low < 0.0 or 0.0 < high <= 1.5:
        warnings.warn(
            f"Images must be RGB in 0..255; the model normalizes them itself. Received: values from {low:.3g} to "
            f"{high:.3g}, which look normalized already.",
            stacklevel=2,
        )


def check_image_spec(images, image_shape):
    """Checks shape and dtype of images, as far as they are static; works on symbolic tensors."""
    shape = tuple(images.shape)
    expected = (None, *image_shape)
    fits = len(shape) == 4 and all(
        None in (got, want) or got == want for got, want in zip(shape, expected, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in image_shape)
        raise ValueError(f"Images must be (batch, height, width, channels) of size (any, {wanted}). Received: {shape}")
    try:
        dtype = keras.backend.standardize_dtype(images.dtype)
    except ValueError:  # text, for example
        dtype = str(images.dtype)
    if not dtype.startswith(("float", "bfloat", "int", "uint")):
        raise ValueError(f"Images must be uint8 or float, 0..255. Received: dtype={dtype}")
