"""An ONNX graph: converted from TensorFlow, its tensors named for the layers they come from."""

import contextlib
import gc
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from rc_keras.base.keras_types import Tensor
from rc_keras.export.folding.direct_conv2d import DirectConv2D
from rc_keras.export.folding.graphs import Answers
from rc_keras.export.formats.onnx.resizing import OPERATIONS, resize
from rc_keras.export.formats.onnx.weights import digest

if TYPE_CHECKING:
    import onnx
    import tensorflow as tf
    from tf2onnx.graph import Graph, Node

OPSET = 17  # read by onnxruntime 1.12 and later


def onnx_graph(
    answers: Answers,
    image: "tf.TensorSpec",
    name: str,
    layers: Iterable[keras.Operation],
    tasks: Iterable[str],
) -> "onnx.ModelProto":
    """Converts the folded branch of a task, or those of several.

    The converter copies constants dozens of times. So it sees inputs in the place of kernels, which are put into the
    graph when it is done.

    Args:
        answers: function from an image to `{task: answer}`.
        image: what it is called with.
        name: of the graph.
        layers: the layers of the folded branches.
        tasks: names of the tasks, those of the outputs.

    Returns:
        An `onnx.ModelProto`, the same for the same task whatever was converted before it. Weights are named
        `layer/kernel` and so on; kernels of convolutions are `(c_out, c_in, k_h, k_w)`.
    """
    import tensorflow as tf
    from tf2onnx import convert

    layers = list(layers)
    kernels = _kernels(layers)

    def run(image: Tensor, *inputs: Tensor) -> dict[str, Tensor]:
        values = [(kernel, x) for alike, x in zip(kernels, inputs, strict=True) for kernel in alike]
        with keras.StatelessScope(values):
            return answers(image)

    signature = [
        image,
        *(tf.TensorSpec(alike[0].shape, alike[0].dtype, name=_input_name(at)) for at, alike in enumerate(kernels)),
    ]
    # The order of the nodes follows their names: a function inside one gives them all the same beginning.
    inner = tf.function(run)
    with _quiet("tf2onnx"), _in_order():
        handlers: dict[str, Any] = {"Erfc": (_erfc, []), **{name: (resize, []) for name in OPERATIONS}}
        outer = tf.function(lambda *inputs: inner(*inputs))
        model, _ = convert.from_function(outer, signature, opset=OPSET, custom_op_handlers=handlers)
    gc.collect()  # its graphs, which hold themselves, one for each of its passes
    values = {_input_name(at): np.asarray(alike[0].value) for at, alike in enumerate(kernels)}
    _store_kernels(model.graph, values | _constants(outer.get_concrete_function(*signature)))
    _pad_explicitly(model.graph)
    _rename(model.graph, sorted(tasks), _weight_names(layers))  # TensorFlow sorts the entries of a dictionary
    model.producer_name, model.graph.name = "rc_keras", name
    del model.graph.value_info[:]
    for field in ("producer_version", "doc_string"):
        model.ClearField(field)
    model.graph.ClearField("doc_string")
    return model


def onnx_kernel(kernel: np.ndarray) -> np.ndarray:
    """A Keras kernel in ONNX's layout."""
    return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)) if kernel.ndim == 4 else kernel


def is_weight(name: str) -> bool:
    """Whether the name of an array is that of a layer's weight, not of a constant of the graph."""
    return "/" in name


def attribute(node: "onnx.NodeProto", name: str, default: Any = None) -> Any:
    """The value of an attribute of a node."""
    import onnx

    values = [onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name]
    return values[0] if values else default


def weights_of_products(graph: "onnx.GraphProto") -> dict[str, tuple[str, int]]:
    """The weights of convolutions and matrix products: `{name of the node: (name, axis of the output channels)}`."""
    from onnx import TensorProto

    stored = {t.name for t in graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) > 1}
    weights = {}
    for node in graph.node:
        if node.op_type in ("Conv", "MatMul", "Gemm") and node.input[1] in stored:
            last = node.op_type == "MatMul" or (node.op_type == "Gemm" and not attribute(node, "transB", 0))
            weights[node.name] = (node.input[1], 1 if last else 0)
    return weights


def replace_uses(graph: "onnx.GraphProto", name: str, replacement: str) -> None:
    """Lets all nodes take another tensor instead of one."""
    for node in graph.node:
        node.input[:] = [replacement if entry == name else entry for entry in node.input]


def prepend_nodes(graph: "onnx.GraphProto", nodes: Iterable["onnx.NodeProto"]) -> None:
    """Puts nodes in front of all others."""
    nodes = [*nodes, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


@contextlib.contextmanager
def _in_order() -> Iterator[None]:
    """Lets the converter go through nodes in the same order in every conversion.

    It keeps them in sets, ordered by where they happen to lie in memory, and numbers them on from one conversion to the
    next. Its passes answer otherwise in another order, now and then wrongly where sizes are free.
    """
    from tf2onnx import utils
    from tf2onnx.graph import Graph

    extract, count = Graph.extract_sub_graph_nodes, utils.INTERNAL_NAME

    def extract_in_order(*args: Any, **options: Any) -> list[Any]:
        return sorted(extract(*args, **options), key=lambda node: node.name)

    Graph.extract_sub_graph_nodes = extract_in_order
    utils.INTERNAL_NAME = 10**9  # numbers of one length: names sort as they do
    try:
        yield
    finally:
        Graph.extract_sub_graph_nodes, utils.INTERNAL_NAME = extract, count


def _erfc(graph: "Graph", node: "Node", name: str, _: list[Any]) -> None:
    """`erfc(x) = 1 - erf(x)`, of GELU, an operation that ONNX does not have."""
    from tf2onnx import constants, utils

    dtype = utils.map_onnx_to_numpy_type(graph.get_dtype(node.output[0]))
    one = graph.make_const(utils.make_name(name), np.ones((), dtype)).output[0]
    node.type, node.domain = "Erf", constants.ONNX_DOMAIN
    outputs = graph.make_node("Sub", [one, node.output[0]], name=utils.make_name(name)).output
    graph.replace_all_inputs(node.output[0], outputs[0], ops=[n for n in graph.get_nodes() if n.output != outputs])


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _pad_explicitly(graph: "onnx.GraphProto") -> None:
    """Writes out the padding that does not depend on the size: onnxruntime refuses "same" for dilated kernels."""
    import onnx

    for node in graph.node:
        same = attribute(node, "auto_pad") == b"SAME_UPPER" and node.op_type == "Conv"
        if same and set(attribute(node, "strides", [1])) == {1}:
            kernel = attribute(node, "kernel_shape")
            dilations = attribute(node, "dilations", [1] * len(kernel))
            totals = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
            kept = [a for a in node.attribute if a.name not in ("auto_pad", "pads")]
            del node.attribute[:]
            node.attribute.extend(kept)
            pads = [n // 2 for n in totals] + [n - n // 2 for n in totals]
            node.attribute.append(onnx.helper.make_attribute("pads", pads))


def _kernels(layers: Iterable[keras.Operation]) -> list[list[keras.Variable]]:
    """The kernels of plain convolutions, equal ones together."""
    alike: dict[tuple[tuple[int, ...], bytes], dict[int, keras.Variable]] = {}
    for layer in layers:
        if isinstance(layer, (DirectConv2D, keras.layers.Dense)):
            key = tuple(layer.kernel.shape), digest(np.asarray(layer.kernel.value))
            alike.setdefault(key, {})[id(layer.kernel)] = layer.kernel
    return [list(variables.values()) for variables in alike.values()]


def _input_name(index: int) -> str:
    return f"kernel_{index}"


def _constants(function: Any) -> dict[str, np.ndarray]:
    """`{name of an input: value}` of tensors that layers hold, as `Normalization` does: inputs like kernels."""
    count = len(function.captured_inputs)
    inputs = zip(function.inputs[-count:] if count else (), function.captured_inputs, strict=True)
    return {tensor.name: value.numpy() for tensor, value in inputs if tensor.dtype.name != "resource"}


def _store_kernels(graph: "onnx.GraphProto", kernels: Mapping[str, np.ndarray]) -> None:
    """Puts kernels in the place of the inputs of their names, in the layout that the nodes behind them make of them."""
    from onnx import numpy_helper

    values, constants = dict(kernels), {tensor.name: tensor for tensor in graph.initializer}
    for node in list(graph.node):  # each behind those that it takes from
        if node.op_type not in ("Transpose", "Reshape") or node.input[0] not in values:
            continue
        kernel = values[node.input[0]]
        if node.op_type == "Transpose":
            kernel = kernel.transpose(attribute(node, "perm"))
        else:  # what the converter makes of a transposition that moves an axis of length 1
            kernel = kernel.reshape(numpy_helper.to_array(constants[node.input[1]]))
        values[node.output[0]] = kernel
        graph.node.remove(node)
    for name in dict.fromkeys(name for node in graph.node for name in node.input if name in values):
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values[name]), name))
    for entry in [entry for entry in graph.input if entry.name in kernels]:
        graph.input.remove(entry)


def _weight_names(layers: Iterable[keras.Operation]) -> dict[bytes, str]:
    """`{digest of a weight in ONNX's layout: name}`."""
    names: dict[bytes, str] = {}
    for layer in layers:
        for weight in getattr(layer, "weights", []):
            names.setdefault(digest(onnx_kernel(np.asarray(weight.value))), f"{layer.name}/{weight.name}")
    return names


def _rename(graph: "onnx.GraphProto", tasks: Sequence[str], weight_names: dict[bytes, str]) -> None:
    """Names that depend on the graph alone: the converter counts on from one conversion to the next."""
    used = {name for node in graph.node for name in node.input}
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in used:
            del graph.initializer[index]
    weights = {tensor.name: tensor for tensor in graph.initializer}
    names = {graph.input[0].name: "image", "": ""}
    names |= {output.name: task for output, task in zip(graph.output, tasks, strict=True)}
    places: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{index}"
        for name in node.input:
            if name in weights and name not in names:
                tensor = weights[name]
                names[name] = weight_names.pop(digest(tensor.raw_data), f"constant_{len(places)}")
                tensor.name = names[name]
                places[tensor.name] = len(places)
        for i, name in enumerate(node.output):
            names.setdefault(name, f"{node.name}_{i}" if i else node.name)
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [names[name] for name in node.output]
        node.ClearField("doc_string")
    graph.initializer.sort(key=lambda tensor: places[tensor.name])  # in place: a list of them would be copied
    graph.input[0].name = "image"
    _name_free_sizes(graph.input[0], "")
    for output, task in zip(graph.output, tasks, strict=True):
        output.name = task
        _name_free_sizes(output, f"{task}_")


def _name_free_sizes(value: "onnx.ValueInfoProto", prefix: str) -> None:
    names = ("batch", f"{prefix}height", f"{prefix}width")
    for name, dimension in zip(names, value.type.tensor_type.shape.dim, strict=False):
        if not dimension.HasField("dim_value"):
            dimension.dim_param = name
