"""Weights of ONNX graphs in fewer bits."""

from typing import TYPE_CHECKING

import numpy as np

from rc_keras.export.formats.onnx.graph import (
    is_weight,
    onnx_kernel,
    prepend_nodes,
    replace_uses,
    weights_of_products,
)

if TYPE_CHECKING:
    import onnx

_LARGEST = 127  # of an eight-bit weight, in steps of its scale
WEIGHT_ZERO = 128  # what an eight-bit weight of zero is stored as
SMALLEST_SCALE = np.float32(1e-12)  # where all values are zero


def convert_kernel(kernel: np.ndarray, precision: str) -> tuple[np.ndarray, np.ndarray | None]:
    """A Keras kernel as a file holds it.

    Args:
        kernel: `(k_h, k_w, c_in, c_out)`, float32.
        precision: `"float32"`, `"float16"` or `"int8"`.

    Returns:
        `(array, scale)`: `(c_out, c_in, k_h, k_w)`, and float32 `(c_out,)` for int8, otherwise `None`. Both depend on
        the kernel alone, hence are the same for all tasks.
    """
    kernel = onnx_kernel(kernel)
    if precision == "int8":
        scale = channel_scales(kernel, axis=0)
        return round_to_uint8(kernel, scale, axis=0), scale
    return kernel.astype(precision), None


def channel_scales(weight: np.ndarray, axis: int) -> np.ndarray:
    """The scales, float32, that give the largest weight of each output channel the largest integer."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    return np.maximum(np.abs(weight).max(others) / np.float32(_LARGEST), SMALLEST_SCALE)


def round_to_uint8(weight: np.ndarray, scale: np.ndarray, axis: int) -> np.ndarray:
    """The nearest multiples of the scales of the output channels, which lie along an axis; `WEIGHT_ZERO` is zero."""
    shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
    steps = np.clip(np.rint(weight / scale.reshape(shape)), -_LARGEST, _LARGEST)
    return (steps + WEIGHT_ZERO).astype("uint8")


def halve_weights(model: "onnx.ModelProto") -> None:
    """Makes the kernels of a graph float16, in place; the graph computes in float32 as before."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    in_products = {name for name, _ in weights_of_products(model.graph).values()}  # parts of kernels among them
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        if tensor.name in in_products or is_weight(tensor.name):
            name, wide = tensor.name, f"{tensor.name}_float32"
            replace_uses(model.graph, name, wide)
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float16"), name))
            casts.append(helper.make_node("Cast", [name], [wide], name=wide, to=TensorProto.FLOAT))
    prepend_nodes(model.graph, casts)
