"""Weights in half precision: half the bytes, for files; what is read counts as single precision again."""

from collections.abc import Mapping

import numpy as np

from rc_keras.files.named_weights import array_for


def in_precision(tensors: Mapping[str, np.ndarray], dtype: str | None) -> dict[str, np.ndarray]:
    """The tensors as a file holds them.

    Kernels and matrices are rounded, to 11 significant bits. Vectors stay as they are: norms with their moving
    statistics, gains and biases are a hundredth of the bytes, and a variance may well lie beyond the 6e-8..65504 of
    float16.

    Args:
        tensors: `{name: array}`.
        dtype: `None`: as they are. `"float16"`: as above.

    Raises:
        ValueError: if `dtype` is another one, a weight is neither an integer nor float32, or float16 does not reach
            its values.
    """
    if dtype not in (None, "float16"):
        raise ValueError(f"`dtype` must be 'float16', or None for weights as they are. Received: dtype={dtype!r}")
    return dict(tensors) if dtype is None else {name: _halved(name, tensor) for name, tensor in tensors.items()}


def in_single_precision(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What `in_precision` has rounded, as float32 again; exact."""
    return {name: t.astype("float32") if t.dtype == "float16" else t for name, t in tensors.items()}


def as_loaded(tensors: Mapping[str, np.ndarray], dtype: str | None) -> dict[str, np.ndarray]:
    """What is read of tensors that were written in a precision."""
    return dict(tensors) if dtype is None else in_single_precision(in_precision(tensors, dtype))


def _halved(name: str, tensor: np.ndarray) -> np.ndarray:
    if tensor.dtype.kind in "iub":
        return tensor
    if tensor.dtype != "float32":
        raise ValueError(
            f"`dtype` must be None for a model whose weights are not float32. Received: {name} is {tensor.dtype}"
        )
    if tensor.ndim < 2:
        return tensor
    half = array_for("float16", tensor)
    if half is None:
        raise ValueError(
            f"`dtype` must be None for weights that float16 does not reach, above 65504. Received: {name} with "
            f"{np.abs(tensor).max():g}"
        )
    return half
