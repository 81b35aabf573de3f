"""Arguments that all backbones take, and the seeds of their layers."""

import hashlib
from collections.abc import Sequence
from typing import Any


def is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def check_image_shape(image_shape: Sequence[int | None], smallest: int = 1) -> None:
    """Raises a `ValueError` unless it is `(height, width, 3)`, each size `None` or not below the smallest."""
    is_shape = isinstance(image_shape, (list, tuple)) and len(image_shape) == 3
    if not is_shape or image_shape[2] != 3 or not all(n is None or _is_size(n, smallest) for n in image_shape[:2]):
        sizes = "positive ints" if smallest == 1 else f"ints of at least {smallest}"
        raise ValueError(
            f"`image_shape` must be (height, width, 3), where height and width are {sizes} or "
            f"None. Received: image_shape={image_shape}"
        )


def check_classes_and_seed(classes: int | None, seed: int | None) -> None:
    if classes is not None and not is_count(classes):
        raise ValueError(f"`classes` must be None or a positive int. Received: classes={classes}")
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
        raise ValueError(f"`seed` must be None or an int. Received: seed={seed}")


def layer_seed(seed: int, layer_name: str) -> int:
    digest = hashlib.sha256(f"{seed}/{layer_name}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _is_size(value: Any, smallest: int) -> bool:
    return is_count(value) and value >= smallest
