"""Resizing to a size that is no multiple of the map's, as ONNX writes it."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tf2onnx.graph import Graph, Node

OPERATIONS = ("ResizeBicubic", "ResizeBilinear", "ResizeNearestNeighbor")  # as TensorFlow calls them


def resize(graph: "Graph", node: "Node", name: str, _: list[Any]) -> None:
    """Converts one of `OPERATIONS` to `Resize`: a handler of tf2onnx.

    Where sizes are known, the converter writes their ratio in float32. That of 18 to 5 is 3.5999999, with which
    runtimes answer 17. There the size is written instead, of which they make the same ratio: no pixel moves.
    """
    from tf2onnx import utils
    from tf2onnx.onnx_opset.nn import Resize

    output, shape = node.output[0], graph.get_shape(node.input[0])
    target = node.inputs[1].get_tensor_value() if node.inputs[1].is_const() else None
    Resize.version_11(graph, node)
    if not shape or target is None or -1 in shape[1:3] or _are_exact(shape[1:3], target):
        return
    written = graph.get_node_by_output(output).inputs[0]  # behind it is a transposition
    image, nothing = written.input[:2]

    def constant(values: list[int]) -> str:
        return graph.make_const(utils.make_name(name), np.array(values, "int64")).output[0]

    if -1 in (shape[0], shape[3]):
        known = graph.make_node("Shape", [image]).output[0]
        known = graph.make_node("Slice", [known, constant([0]), constant([2])]).output[0]
        sizes = graph.make_node("Concat", [known, constant(target)], {"axis": 0}).output[0]
    else:
        sizes = constant([shape[0], shape[3], *target])
    graph.replace_inputs(written, [image, nothing, nothing, sizes])
    graph.set_shape(written.output[0], [shape[0], shape[3], *target])


def _are_exact(sizes: list[int], target: list[int]) -> bool:
    """Whether sizes times their ratios in float32 are the target, to the last bit."""
    return all(float(np.float32(n / size)) * size == n for n, size in zip(target, sizes, strict=True))
