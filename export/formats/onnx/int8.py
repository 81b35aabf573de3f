"""Eight-bit convolutions in ONNX graphs, by pairs of QuantizeLinear and DequantizeLinear."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rc_keras.export.formats.onnx.graph import prepend_nodes, replace_uses, weights_of_products
from rc_keras.export.formats.onnx.precision import SMALLEST_SCALE, WEIGHT_ZERO, channel_scales, round_to_uint8
from rc_keras.export.formats.onnx.refusals import reported

if TYPE_CHECKING:
    import onnx

_FOLLOWERS = ("Relu", "Clip")  # that runtimes take into the convolution before them


def quantize(model: "onnx.ModelProto", images: Iterable[np.ndarray]) -> None:
    """Makes convolutions and matrix products of a graph eight-bit, in place.

    Weights get a scale for each output channel. What goes into a convolution and what comes out of it is rounded, with
    the range that it has on the images; but the last convolutions, behind which there is nothing but resizing and
    activation, give float32. The pairs of operators that say so are fused by runtimes into integer operators.

    Both sides of a product are unsigned: on processors without VNNI, the x86 instruction for signed weights saturates
    where two products add up to more than 15 bits, silently.

    Args:
        model: the `onnx.ModelProto`, with its weights inside.
        images: arrays `(1, height, width, channels)` in 0..255.
    """
    graph = model.graph
    weights = weights_of_products(graph)
    ranges = _measure(model, _activations(graph, weights), images)
    restored: list[onnx.NodeProto] = []
    users: dict[tuple[str, int], list[onnx.NodeProto]] = {}
    for node in graph.node:
        if node.name in weights:
            users.setdefault(weights[node.name], []).append(node)
    for (name, axis), nodes in users.items():
        restored += _quantize_weight(graph, name, axis, nodes, ranges)
    prepend_nodes(graph, restored)
    for name, (scale, zero) in ranges.items():
        _quantize_activation(graph, name, scale, zero)
    _drop_unused(graph)


def _activations(graph: "onnx.GraphProto", weights: Mapping[str, tuple[str, int]]) -> list[str]:
    """Names of what is rounded: the inputs of weighted nodes, and those outputs that lead to another one."""
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    leading: set[str] = set()  # what a weighted node is reached from
    for node in reversed(graph.node):
        if node.name in weights:
            leading.add(node.input[0])
        elif leading.intersection(node.output):
            leading.update(node.input)
    names: list[str] = []
    for node in graph.node:
        if node.name in weights:
            output = node.output[0]
            if len(users.get(output, ())) == 1 and users[output][0].op_type in _FOLLOWERS:
                output = users[output][0].output[0]
            names += [node.input[0]] + [output] * (output in leading)
    return list(dict.fromkeys(names))


def _measure(
    model: "onnx.ModelProto", names: Sequence[str], images: Iterable[np.ndarray]
) -> dict[str, tuple[np.float32, np.uint8]]:
    """`{name: (scale, zero point)}` of activations, from their smallest and largest value on the images."""
    import onnx
    import onnxruntime

    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    for index, name in enumerate(names):
        for kind in ("ReduceMin", "ReduceMax"):
            output = f"{kind}_of_activation_{index}"
            probe.graph.node.append(onnx.helper.make_node(kind, [name], [output], name=output, keepdims=0))
            probe.graph.output.append(onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, []))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    with reported():
        session = onnxruntime.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    batch_size = session.get_inputs()[0].shape[0]
    low, high = np.zeros(len(names)), np.zeros(len(names))  # zero, the value of padding, must be exact
    for image in images:
        batch = np.repeat(image, batch_size if isinstance(batch_size, int) else 1, axis=0).astype("float32")
        limits = np.reshape(session.run(None, {"image": batch}), (-1, 2))
        low, high = np.minimum(low, limits[:, 0]), np.maximum(high, limits[:, 1])
    scales = np.maximum((high - low) / 255, SMALLEST_SCALE).astype("float32")
    zeros = np.clip(np.rint(-low / scales), 0, 255).astype("uint8")
    return dict(zip(names, zip(scales, zeros, strict=True), strict=True))


def _quantize_weight(
    graph: "onnx.GraphProto",
    name: str,
    axis: int,
    nodes: Iterable["onnx.NodeProto"],
    ranges: Mapping[str, tuple[np.float32, np.uint8]],
) -> list["onnx.NodeProto"]:
    """Rounds a weight, and the biases of the convolutions that use it; returns what turns them back into float32."""
    from onnx import numpy_helper

    tensors = {tensor.name: tensor for tensor in graph.initializer}
    weight = numpy_helper.to_array(tensors[name])
    scale = channel_scales(weight, axis)
    biased = [node for node in nodes if node.op_type == "Conv" and len(node.input) > 2 and node.input[2] in tensors]
    for node in biased:
        bias = numpy_helper.to_array(tensors[node.input[2]])
        # The bias is a 32-bit multiple of the product of the scales of input and weight.
        scale = np.maximum(scale, np.abs(bias) / (ranges[node.input[0]][0] * np.float32(2**30)))
    tensors[name].CopyFrom(numpy_helper.from_array(round_to_uint8(weight, scale, axis), name))
    _store(graph, f"{name}_scale", scale)
    zero = f"weight_zero_{len(scale)}"  # the same for all weights with as many channels
    if zero not in tensors:
        _store(graph, zero, np.full(len(scale), WEIGHT_ZERO, "uint8"))
    restored = [_restore(name, [f"{name}_scale", zero], axis=axis)]
    for node in nodes:
        node.input[1] = f"{name}_float32"
    for node in biased:
        bias, unit = numpy_helper.to_array(tensors[node.input[2]]), ranges[node.input[0]][0] * scale
        integers = f"{node.name}_bias"
        _store(graph, integers, np.rint(bias.astype("float64") / unit).astype("int32"))
        _store(graph, f"{integers}_scale", unit)
        restored.append(_restore(integers, [f"{integers}_scale"], axis=0))
        node.input[2] = f"{integers}_float32"
    return restored


def _quantize_activation(graph: "onnx.GraphProto", name: str, scale: np.float32, zero: np.uint8) -> None:
    from onnx import helper

    parameters = [f"{name}_scale", f"{name}_zero"]
    _store(graph, parameters[0], scale)
    _store(graph, parameters[1], zero)
    replace_uses(graph, name, f"{name}_uint8_float32")
    rounded = helper.make_node("QuantizeLinear", [name, *parameters], [f"{name}_uint8"], name=f"{name}_uint8")
    made = [i for i, node in enumerate(graph.node) if name in node.output]
    for node in (_restore(f"{name}_uint8", parameters), rounded):
        graph.node.insert(made[0] + 1 if made else 0, node)


def _store(graph: "onnx.GraphProto", name: str, value: np.ndarray | np.generic) -> None:
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))


def _restore(name: str, parameters: Iterable[str], **attributes: Any) -> "onnx.NodeProto":
    from onnx import helper

    output = f"{name}_float32"
    return helper.make_node("DequantizeLinear", [name, *parameters], [output], name=output, **attributes)


def _drop_unused(graph: "onnx.GraphProto") -> None:
    """Removes the biases that were replaced."""
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
