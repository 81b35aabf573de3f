"""Parts of the LiteRT exporter on their own: shared vectors, recognized kernels, unit vectors."""

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exporters need Keras on TensorFlow")
pytest.importorskip("flatbuffers")

TOLERANCE = 1e-6  # of numbers of size 1: float32 divisions in another order


def test_vectors_are_shared_if_type_and_bytes_are_the_same():
    from rc_keras.export.formats.tflite.packing import _SharingBuilder

    builder = _SharingBuilder(64)
    places = [builder.CreateNumpyVector(np.zeros(n, dtype)) for n, dtype in ((2, "int32"), (1, "int64"), (2, "int32"))]
    assert places[0] == places[2] != places[1]
    weights = [builder.CreateNumpyVector(np.zeros(8, "uint8")) for _ in range(2)]
    assert weights[0] != weights[1]


def test_a_stored_kernel_is_recognized_by_every_number():
    from rc_keras.export.formats.tflite.file import _Constant

    kernel = np.random.default_rng(0).normal(size=(4, 3, 3, 2)).astype("float32")
    scale = abs(kernel).max((1, 2, 3)) / 127
    rounded = np.rint(kernel / scale[:, None, None, None]).astype("int8")
    assert _Constant(0, rounded, scale).holds(kernel)
    for step in (-1, 1):
        wrong = rounded.copy()
        wrong[2, 1, 0, 1] += step
        assert not _Constant(0, wrong, scale).holds(kernel)
    assert not _Constant(0, rounded, scale[::-1].copy()).holds(kernel)
    for dtype in ("float32", "float16"):
        stored = kernel.astype(dtype)
        assert _Constant(0, stored, None).holds(kernel)
        stored[3, 2, 2, 1] = np.nextafter(stored[3, 2, 2, 1], np.inf, dtype=dtype)
        assert not _Constant(0, stored, None).holds(kernel)


@pytest.mark.parametrize(("axis", "replaced"), [(-1, True), (1, False)])
def test_only_vectors_along_the_channels_become_one_operator(axis, replaced):
    from rc_keras.export.formats.tflite.integer_forms import with_integer_forms

    image = keras.Input((4, 5, 3))
    model = keras.Model(image, keras.layers.UnitNormalization(axis=axis, name="unit")(image))
    copy = with_integer_forms(model)
    assert isinstance(copy.get_layer("unit"), keras.layers.UnitNormalization) != replaced
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype("float32")
    expected = x / np.linalg.norm(x, axis=axis, keepdims=True)
    np.testing.assert_allclose(copy(x), expected, rtol=0, atol=TOLERANCE)


class Twice(keras.layers.Activation):
    def call(self, x):
        return 2.0 * super().call(x)


@pytest.mark.parametrize(("layer", "replaced"), [(keras.layers.Activation, True), (Twice, False)])
def test_hard_silu_is_spelled_out(layer, replaced):
    from rc_keras.export.formats.tflite.integer_forms import with_integer_forms

    image = keras.Input((4, 5, 3))
    model = keras.Model(image, layer("hard_swish", name="swish")(image))
    copy = with_integer_forms(model)
    assert isinstance(copy.get_layer("swish"), keras.layers.Activation) != replaced
    x = np.random.default_rng(0).normal(0, 3, size=(2, 4, 5, 3)).astype("float32")
    np.testing.assert_allclose(copy(x), model(x), rtol=0, atol=TOLERANCE * np.abs(x).max())


def test_a_convolution_of_several_maps_stays_the_same_in_integer_form():
    from rc_keras.export.formats.tflite.integer_forms import with_integer_forms
    from rc_keras.layers import ConcatConv2D

    generator = np.random.default_rng(0)
    large, small = generator.normal(size=(2, 12, 8, 3)), generator.normal(size=(2, 3, 4, 16))
    image = keras.Input((12, 8, 3))
    pooled = keras.layers.Conv2D(16, (4, 2), (4, 2), name="small")(image)
    layer = ConcatConv2D(5, 3, activation="relu", name="several")
    model = keras.Model(image, layer([image, pooled]))
    layer.bias.assign(generator.normal(size=5))
    assert layer.computed_small([large.shape, small.shape]) == [1]
    copy = with_integer_forms(model)
    assert {id(w) for w in copy.weights} == {id(w) for w in model.weights}
    np.testing.assert_allclose(copy(large), model(large), rtol=0, atol=TOLERANCE)


def test_what_a_delegate_took_is_told_from_what_it_left():
    """Two parts that it took, with an operator between them, and one beside them."""
    from rc_keras.export.formats.tflite.delegate import count_outside

    def node(name, inputs, outputs):
        return {"op_name": name, "inputs": inputs, "outputs": outputs}

    nodes = [
        node("CONV_2D", [0, 90, -1], [1]),
        node("ADD", [1, 1], [2]),
        node("L2_NORMALIZATION", [2], [3]),
        node("ADD", [3, 1], [4]),
        node("RESHAPE", [0], [5]),
        node("ADD", [4, 5], [6]),
    ]
    assert count_outside(nodes) == {"ADD": 3, "CONV_2D": 1, "L2_NORMALIZATION": 1, "RESHAPE": 1}
    took = [node("DELEGATE", [0, 90], [1, 2]), node("DELEGATE", [3, 1, 5], [6])]
    assert count_outside([*nodes, *took]) == {"L2_NORMALIZATION": 1, "RESHAPE": 1}
    assert count_outside([*nodes, node("DELEGATE", [0, 90], [6])]) == {}
