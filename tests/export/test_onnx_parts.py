"""Parts of the ONNX exporter on their own: ranges of activations, weights in files, padding."""

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exporters need Keras on TensorFlow")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

TOLERANCE = 1e-5  # of sums of numbers of size 1 in another order


def model_of(nodes, shape, weights=()):
    """A graph from `image` to `answer`."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    image = helper.make_tensor_value_info("image", kind, shape)
    answer = helper.make_tensor_value_info("answer", kind, [None] * len(shape))
    initializers = [onnx.numpy_helper.from_array(value, name) for name, value in weights]
    graph = helper.make_graph(nodes, "graph", [image], [answer], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(model, image, level="ORT_ENABLE_ALL"):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": image})[0]


@pytest.mark.parametrize(
    ("low", "high", "zero"), [(-0.6, 254.4, 1), (-0.4, 254.6, 0), (1.0, 255.0, 0), (-255.0, -1.0, 255)]
)
def test_the_range_of_an_activation_holds_zero_and_is_rounded_to_nearest(low, high, zero):
    from rc_keras.export.formats.onnx.int8 import _measure

    model = model_of([onnx.helper.make_node("Identity", ["image"], ["answer"])], [1, 1, 2, 1])
    images = [
        np.reshape(values, (1, 1, 2, 1)).astype("float32") for values in ((low, 0.5 * (low + high)), (high, high))
    ]
    ((scale, found),) = _measure(model, ["image"], images).values()
    assert scale == pytest.approx(1.0, rel=TOLERANCE) and found == zero


def test_only_arrays_that_stand_in_the_file_refer_to_it():
    from rc_keras.export.formats.onnx.weights import lay_out, refer, references

    generator = np.random.default_rng(0)
    arrays = {name: generator.normal(size=(16, 16)).astype("float32") for name in ("a/kernel", "b/kernel")}
    content, places = lay_out(arrays)
    nodes = [onnx.helper.make_node("Sum", ["image", *arrays], ["answer"])]
    model = model_of(nodes, [16, 16], [("a/kernel", arrays["a/kernel"]), ("b/kernel", arrays["b/kernel"] + 1)])
    refer(model, "bank.bin", content, places)
    assert references(model, "bank.bin") == {"a/kernel": places["a/kernel"]}
    own = onnx.numpy_helper.to_array(model.graph.initializer[1])
    np.testing.assert_array_equal(own, arrays["b/kernel"] + 1)


@pytest.mark.parametrize("size", [(3, 3), (4, 2), (2, 5)])
def test_explicit_padding_is_the_same_padding(size):
    """An odd number of rows or columns is padded with one more behind than before."""
    from rc_keras.export.formats.onnx.graph import _pad_explicitly, attribute

    generator = np.random.default_rng(0)
    kernel = generator.normal(size=(3, 2, *size)).astype("float32")
    image = generator.normal(size=(1, 2, 9, 8)).astype("float32")
    convolution = onnx.helper.make_node(
        "Conv", ["image", "kernel"], ["answer"], auto_pad="SAME_UPPER", kernel_shape=size, dilations=(1, 1)
    )
    model = model_of([convolution], list(image.shape), [("kernel", kernel)])
    expected = run(model, image)
    _pad_explicitly(model.graph)
    assert attribute(model.graph.node[0], "auto_pad") is None
    np.testing.assert_allclose(run(model, image), expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(
        expected.transpose(0, 2, 3, 1),
        keras.ops.conv(image.transpose(0, 2, 3, 1), kernel.transpose(2, 3, 1, 0), padding="same"),
        rtol=0,
        atol=TOLERANCE,
    )


LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")
NARROW, WIDE = (1, 0, 1, 1), (3, 3, 3, 0)  # rows and columns in front, and behind
SAME = {"pads": (0, 0, 1, 1)}  # what the converter makes of padding="same"


def padded_pool(pool, padding, front=None, value=None, **attributes):
    """A graph of an operation, padding and a pool of 3x3, each where given."""
    make = onnx.helper.make_node
    inputs = ["front", "pads"] + ["value"] * (value is not None)
    weights = [("pads", np.array([0, 0, *padding[:2], 0, 0, *padding[2:]], "int64")), ("zero", np.zeros((), "float32"))]
    weights += [] if value is None else [("value", np.asarray(value, "float32"))]
    nodes = [
        make(front or "Identity", ["image"] + ["zero"] * (front == "Clip"), ["front"]),
        make("Pad", inputs, ["padded"], mode="constant"),
        make(pool, ["padded"], ["answer"], kernel_shape=(3, 3), strides=(2, 2), **attributes),
    ]
    return model_of(nodes, [1, 2, 9, 8], weights)


@pytest.mark.parametrize("value", [None, 0.0, 2.0])
@pytest.mark.parametrize("front", [None, "Relu", "Clip", "Sigmoid"])
@pytest.mark.parametrize("attributes", [{}, SAME, {"auto_pad": "SAME_UPPER"}])
@pytest.mark.parametrize("padding", [NARROW, WIDE])
@pytest.mark.parametrize("pool", ["MaxPool", "AveragePool"])
def test_padding_in_front_of_a_pool_is_what_it_was_at_every_level(pool, padding, attributes, front, value):
    from rc_keras.export.formats.onnx.pooled_padding import keep_padding

    image = np.random.default_rng(0).normal(-2.0, 1.0, (1, 2, 9, 8)).astype("float32")
    model = padded_pool(pool, padding, front, value, **attributes)
    expected = run(model, image, "ORT_DISABLE_ALL")
    keep_padding(model.graph)
    onnx.checker.check_model(model, full_check=True)
    for level in LEVELS:
        np.testing.assert_allclose(run(model, image, level), expected, rtol=0, atol=TOLERANCE)


def test_padding_stays_as_it_is_where_it_may_become_part_of_the_pool():
    """onnxruntime up to 1.20 looks at `count_include_pad` alone to know what padding is worth in an AveragePool."""
    from rc_keras.export.formats.onnx.graph import attribute
    from rc_keras.export.formats.onnx.pooled_padding import keep_padding

    for model in (padded_pool("MaxPool", NARROW, "Relu"), padded_pool("AveragePool", NARROW, value=0.0)):
        nodes, constants = list(model.graph.node), len(model.graph.initializer)
        inputs = list(nodes[1].input)
        keep_padding(model.graph)
        assert list(nodes[1].input) == inputs and len(model.graph.initializer) == constants
    assert attribute(nodes[2], "count_include_pad") == 1
    own = padded_pool("AveragePool", NARROW, **SAME)  # whose own padding is not counted
    keep_padding(own.graph)
    assert len(own.graph.node[1].input) == 3 and attribute(own.graph.node[2], "count_include_pad", 0) == 0


def test_a_pool_behind_another_layout_is_found():
    from rc_keras.export.formats.onnx.pooled_padding import keep_padding

    make = onnx.helper.make_node
    nodes = [
        make("Pad", ["image", "pads"], ["padded"], mode="constant"),
        make("Transpose", ["padded"], ["moved"], perm=(0, 3, 1, 2)),
        make("MaxPool", ["moved"], ["answer"], kernel_shape=(3, 3), strides=(2, 2)),
    ]
    model = model_of(nodes, [1, 9, 8, 2], [("pads", np.array([0, 1, 1, 0, 0, 1, 1, 0], "int64"))])
    image = np.random.default_rng(0).normal(-2.0, 1.0, (1, 9, 8, 2)).astype("float32")
    expected = run(model, image, "ORT_DISABLE_ALL")
    keep_padding(model.graph)
    for level in LEVELS:
        np.testing.assert_allclose(run(model, image, level), expected, rtol=0, atol=TOLERANCE)
