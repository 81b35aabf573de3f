"""Padding in front of pooling, in a form that runtimes which make one operation of the two compute as it stands."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rc_keras.export.formats.onnx.graph import attribute

if TYPE_CHECKING:
    import onnx

SMALLEST = np.finfo("float32").tiny  # 1.2e-38, the smallest number that processors do not take for zero
_POOLS = ("MaxPool", "AveragePool")
_LAYOUT = ("Transpose", "Identity")  # which runtimes move elsewhere
_NEVER_NEGATIVE = ("Relu", "Sigmoid", "HardSigmoid", "Softplus")


def keep_padding(graph: "onnx.GraphProto") -> None:
    """Lets zeros in front of pooling stay zeros, in place.

    On its lowest level of optimization already, onnxruntime makes such padding an attribute of the pooling; other tools
    do so too. But there it is not zero: MaxPool leaves padding out, and AveragePool counts it only where it is told to.
    Padding as wide as the window, finally, is refused.

    So AveragePool is told to, which without padding of its own changes nothing. Elsewhere the map is padded with the
    smallest number instead, which stays apart and, next to any other, is zero. Zeros around what is never negative, as
    behind ReLU, may become an attribute of MaxPool: each window meets the map, and has the same maximum with them as
    without.
    """
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    apart = []
    for node in graph.node:
        pools = list(_pools(node.output[0], users)) if _pads_with_zeros(node, constants) else []
        if pools and not all(_may_join(node, pool, made, constants) for pool in pools):
            apart.append(node)
            continue
        for pool in pools:
            if pool.op_type == "AveragePool":
                _set(pool, "count_include_pad", 1)
    for node in apart:
        node.input[2:] = ["smallest_number"]
    if apart:
        graph.initializer.append(numpy_helper.from_array(np.asarray(SMALLEST, "float32"), "smallest_number"))


def _pads_with_zeros(node: "onnx.NodeProto", constants: Mapping[str, "onnx.TensorProto"]) -> bool:
    if node.op_type != "Pad" or attribute(node, "mode", b"constant") != b"constant" or node.input[1] not in constants:
        return False
    value = node.input[2] if len(node.input) > 2 else ""
    return not value or (value in constants and not np.any(_array(constants[value])))


def _pools(name: str, users: Mapping[str, Sequence["onnx.NodeProto"]]) -> Iterator["onnx.NodeProto"]:
    """The pooling that takes a tensor, at once or in another layout."""
    for node in users.get(name, ()):
        if node.op_type in _POOLS:
            yield node
        elif node.op_type in _LAYOUT:
            yield from _pools(node.output[0], users)


def _may_join(
    padding: "onnx.NodeProto",
    pool: "onnx.NodeProto",
    made: Mapping[str, "onnx.NodeProto"],
    constants: Mapping[str, "onnx.TensorProto"],
) -> bool:
    """Whether the two as one operation compute what they compute one after the other."""
    own = attribute(pool, "pads", [0])
    widest = _array(constants[padding.input[1]]).max() + max(own)
    if widest >= min(attribute(pool, "kernel_shape")) or max(attribute(pool, "dilations", [1])) > 1:
        return False  # a window may miss the map
    if pool.op_type == "AveragePool":
        return max(own) == 0 and attribute(pool, "auto_pad", b"NOTSET") == b"NOTSET"
    return _is_never_negative(padding.input[0], made, constants)


def _is_never_negative(
    name: str, made: Mapping[str, "onnx.NodeProto"], constants: Mapping[str, "onnx.TensorProto"]
) -> bool:
    node = made.get(name)
    while node is not None and node.op_type in (*_LAYOUT, *_POOLS):
        node = made.get(node.input[0])
    if node is None:
        return False
    if node.op_type == "Clip":
        lowest = node.input[1] if len(node.input) > 1 else ""
        return lowest in constants and bool(np.all(_array(constants[lowest]) >= 0))
    return node.op_type in _NEVER_NEGATIVE


def _array(tensor: "onnx.TensorProto") -> np.ndarray:
    from onnx import numpy_helper

    return numpy_helper.to_array(tensor)


def _set(node: "onnx.NodeProto", name: str, value: int) -> None:
    import onnx

    kept = [entry for entry in node.attribute if entry.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])
