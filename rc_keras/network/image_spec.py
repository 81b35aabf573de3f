"""What images a network takes."""

from collections.abc import Sequence
from typing import Any

import keras


def check_image_spec(images: Any, image_shape: Sequence[int | None]) -> None:
    """Checks shape and dtype of images, as far as they are static; works on symbolic tensors and specs."""
    if not hasattr(images, "shape"):
        keys = f" with keys {list(images)}" if isinstance(images, dict) else ""
        raise ValueError(
            f"Images must be one array (batch, height, width, channels). Received: {type(images).__name__}{keys}"
        )
    if getattr(images.shape, "rank", 0) is None:
        return
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
