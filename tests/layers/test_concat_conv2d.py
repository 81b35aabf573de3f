"""`ConcatConv2D` computes what resizing, concatenating and convolving would, borders and gradients included."""

import contextlib

import keras
import numpy as np
import pytest
from keras import ops

import rc_keras
from rc_keras.base.gradients import value_and_gradients
from rc_keras.layers import ConcatConv2D, Conv2D, ResizeTo

ROUNDING = 1e-5  # of the range: float32 sums in another order
EXACT = 1e-12  # of the range, in float64
CHANNELS = (16, 6)
# Kernel, small size, size of the output; the factors of height and width differ, and need not be whole.
CASES = {
    "square": (3, (8, 8), (32, 32)),
    "odd": (3, (5, 6), (18, 24)),
    "uneven": (3, (7, 9), (27, 35)),
    "twice": (3, (8, 8), (16, 16)),
    "one_axis": (3, (2, 24), (16, 24)),
    "row": (3, (1, 6), (12, 24)),
    "large_kernel": (5, (6, 6), (24, 24)),
    "pixel": (1, (1, 1), (9, 8)),
    "pointwise": (1, (4, 5), (16, 20)),
}


def array(x):
    return ops.convert_to_numpy(x)


def maps(small, size, seed=0, dtype="float32"):
    generator = np.random.default_rng(seed)
    shapes = ((2, *small, CHANNELS[0]), (2, *size, CHANNELS[1]))
    return [ops.convert_to_tensor(generator.normal(size=shape).astype(dtype)) for shape in shapes]


def plain(layer, x):
    """The same weights, with resizing and concatenation before."""
    reference = x[layer.reference]
    concatenated = ops.concatenate([ResizeTo()(each, reference) for each in x], axis=-1)
    convolution = Conv2D(layer.filters, layer.kernel_size, padding="same", activation=layer.activation)
    convolution.build(concatenated.shape)
    convolution.set_weights(layer.get_weights())
    return convolution(concatenated)


def made(kernel_size, **kwargs):
    return ConcatConv2D(12, kernel_size, reference=1, bias_initializer="glorot_uniform", **kwargs)


@pytest.mark.parametrize("case", CASES)
def test_equals_the_plain_form(case):
    kernel_size, small, size = CASES[case]
    layer, x = made(kernel_size, activation="relu"), maps(small, size)
    received, expected = array(layer(x)), array(plain(layer, x))
    assert layer.is_computed_small(small, size, CHANNELS[0])
    np.testing.assert_allclose(received, expected, rtol=0, atol=ROUNDING * np.ptp(expected))
    assert received.shape == tuple(layer.compute_output_shape([tuple(each.shape) for each in x]))


@pytest.mark.parametrize("case", ["odd", "row", "pixel"])
def test_gradients_equal_those_of_the_plain_form(case):
    kernel_size, small, size = CASES[case]
    layer, x = made(kernel_size), [keras.Variable(each) for each in maps(small, size)]
    upstream = maps(size, size)[0][..., :12]
    layer(x)
    results = []
    for form in (layer, lambda values: plain_with_kernel(layer, values)):
        scope = keras.StatelessScope() if keras.backend.backend() == "jax" else contextlib.nullcontext()
        with scope:
            _, gradients = value_and_gradients(
                lambda form=form: (ops.sum(form([v.value for v in x]) * upstream), ()),
                [*x, layer.kernel, layer.bias],
                [],
            )
        results.append([array(gradient) for gradient in gradients])
    for received, expected in zip(*results, strict=True):
        np.testing.assert_allclose(received, expected, rtol=0, atol=ROUNDING * np.abs(expected).max())


def plain_with_kernel(layer, x):
    concatenated = ops.concatenate([ResizeTo()(each, x[1]) for each in x], axis=-1)
    return ops.conv(concatenated, layer.kernel.value, padding="same") + layer.bias.value


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX has no float64 by default")
def test_exact_in_double_precision():
    """Against resizing and convolving by NumPy."""
    kernel_size, small, size = CASES["odd"]
    layer, x = made(kernel_size, dtype="float64"), maps(small, size, dtype="float64")
    received = array(layer(x))
    up = array(x[0])
    for axis in (1, 2):
        places = (np.arange(size[axis - 1]) + 0.5) * small[axis - 1] / size[axis - 1] - 0.5
        low = np.floor(places).astype(int)
        shape = [-1 if each == axis else 1 for each in range(4)]
        share = (places - low).reshape(shape)
        neighbours = [np.take(up, np.clip(low + step, 0, small[axis - 1] - 1), axis=axis) for step in (0, 1)]
        up = neighbours[0] * (1 - share) + neighbours[1] * share
    padded = np.pad(np.concatenate([up, array(x[1])], axis=-1), ((0, 0), (1, 1), (1, 1), (0, 0)))
    kernel = array(layer.kernel)
    expected = array(layer.bias) + sum(
        padded[:, i : i + size[0], j : j + size[1]] @ kernel[i, j] for i in range(3) for j in range(3)
    )
    np.testing.assert_allclose(received, expected, rtol=0, atol=EXACT * np.ptp(expected))


def test_larger_and_unknown_sizes_take_the_plain_form():
    layer = made(3)
    assert not layer.is_computed_small((8, 8), (4, 4), 16)
    assert not layer.is_computed_small((8, 8), (8, 8), 16)
    assert not layer.is_computed_small((None, 8), (32, 32), 16)
    assert not layer.is_computed_small((8, 8), (None, None), 16)
    assert not layer.is_computed_small((8, 8), (9, 9), 1)  # the matrices would cost more
    pooled = made(1)
    assert pooled.is_computed_small((1, 1), (None, None), 16)
    x = maps((8, 8), (4, 4))
    received, expected = array(layer(x)), array(plain(layer, x))
    np.testing.assert_allclose(received, expected, rtol=0, atol=ROUNDING * np.ptp(expected))


def test_a_model_of_any_size_computes_what_one_of_a_fixed_size_does():
    """Where sizes are only known when it runs."""
    image = keras.Input((None, None, 3))
    low = keras.layers.AveragePooling2D(2)(image)
    high = keras.layers.AveragePooling2D(8)(image)
    model = keras.Model(image, ConcatConv2D(4, 3, reference=1)([high, low]))
    fixed = keras.models.clone_model(model, input_tensors=keras.Input((32, 48, 3)))
    fixed.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 32, 48, 3)).astype("float32")
    expected = model.predict(x, verbose=0)
    np.testing.assert_allclose(fixed.predict(x, verbose=0), expected, rtol=0, atol=ROUNDING * np.ptp(expected))


def test_counts_what_it_computes():
    layer = ConcatConv2D(256, 3, reference=1)
    shapes = [(None, 32, 32, 256), (None, 128, 128, 48)]
    products, stretching = 9 * 256 * 256 * 32 * 32, 256 * 3 * 32 * (128 * 3 * 32 + 128 * 128)
    assert layer.macs(shapes) == products + stretching + 9 * 48 * 256 * 128 * 128
    assert round(layer.macs(shapes) / 1e9, 2) == 3.12  # of 11.48 in the plain form
    pooled = ConcatConv2D(256, 1)
    assert pooled.macs([(None, 32, 32, 1024), (None, 1, 1, 256)]) == 1024 * 256 * 32 * 32 + 256 * 256


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_size": 2}, "`kernel_size` must be odd"),
        ({"kernel_size": 3, "strides": 2}, "`strides` must be"),
        ({"kernel_size": 3, "padding": "valid"}, "`padding` must be 'same'"),
        ({"kernel_size": 3, "dilation_rate": 2}, "`dilation_rate` must be"),
    ],
)
def test_what_it_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        ConcatConv2D(4, **arguments)


def test_the_decoder_computes_what_its_plain_form_does(monkeypatch):
    """DeepLabv3+ at sizes that 16 does not divide."""
    size = (72, 104)
    encoder = rc_keras.backbones.resnet((1, 1, 1, 1), (8, 8, 16, 16), (*size, 3), seed=0)
    decoder = rc_keras.decoders.DeepLabV3Plus(width=16, low_level_width=8, rates=(1, 2, 3))
    raw = decoder(encoder.inputs[0], encoder.output, 5, "decoder_", 0)
    model = keras.Model(encoder.inputs[0], raw)
    x = np.random.default_rng(0).uniform(0, 255, (2, *size, 3)).astype("float32")
    received = model.predict(x, verbose=0)
    monkeypatch.setattr(ConcatConv2D, "is_computed_small", lambda *args: False)
    expected = keras.models.clone_model(model, clone_function=lambda layer: layer).predict(x, verbose=0)
    np.testing.assert_allclose(received, expected, rtol=0, atol=ROUNDING * np.ptp(expected))
