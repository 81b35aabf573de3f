"""Parts of the ONNX exporter on their own: ranges of activations, weights in files, explicit padding."""

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


def run(model, image):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
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
