"""Layers: the common contract, and what each one computes."""

import keras
import numpy as np
import pytest
from keras.src import testing
from support.layer_check import check_layer

import rc_keras
from rc_keras.base import convolution, gradients
from rc_keras.layers import (
    BankConcatConv2D,
    BankConv2D,
    BatchNormalization,
    Bias,
    ChannelModulation,
    ConcatConv2D,
    Conv2D,
    Frozen,
    LowRankModulator,
    Modulator,
    ParallelAdapter,
    PointwiseModulator,
    ResizeTo,
    SeriesAdapter,
    SqueezeExcite,
)

FLOAT32 = 1e-5  # of values around 1
GRADIENT = 1e-4  # sums over a few hundred positions

CASES = {
    "bank": (BankConv2D, {"filters": 6, "kernel_size": (3, 3), "padding": "same"}, [(2, 8, 8, 4)], [], ["kernel"]),
    "bank_strided": (
        BankConv2D,
        {"filters": 6, "kernel_size": (3, 3), "strides": (2, 2), "groups": 2},
        [(2, 9, 9, 4)],
        [],
        ["kernel"],
    ),
    "bank_dilated": (
        BankConv2D,
        {"filters": 6, "kernel_size": (3, 3), "padding": "same", "dilation_rate": (2, 2)},
        [(2, 8, 8, 4)],
        [],
        ["kernel"],
    ),
    "bank_concat": (
        BankConcatConv2D,
        {"filters": 6, "kernel_size": (3, 3), "reference": 1},
        [[(2, 4, 4, 8), (2, 16, 16, 4)]],
        [],
        ["kernel"],
    ),
    "modulator": (Modulator, {"filters": 6}, [(2, 8, 8, 4)], ["direction", "gain"], []),
    "modulator_plain": (
        Modulator,
        {"filters": 6, "normalize": False, "use_bias": True, "direction_initializer": "identity"},
        [(2, 8, 8, 4)],
        ["direction", "bias"],
        [],
    ),
    "modulator_regularized": (
        Modulator,
        {"filters": 4, "direction_regularizer": "l2", "gain_constraint": "non_neg", "use_bias": True},
        [(2, 8, 8, 4)],
        ["direction", "gain", "bias"],
        [],
    ),
    "conv2d": (
        Conv2D,
        {"filters": 6, "kernel_size": 3, "padding": "same", "dilation_rate": 2},
        [(2, 8, 8, 4)],
        ["kernel", "bias"],
        [],
    ),
    "concat_conv2d": (
        ConcatConv2D,
        {"filters": 6, "kernel_size": (3, 3), "reference": 1},
        [[(2, 4, 4, 8), (2, 16, 16, 4)]],
        ["kernel", "bias"],
        [],
    ),
    "concat_conv2d_pooled": (
        ConcatConv2D,
        {"filters": 6, "kernel_size": (1, 1), "use_bias": False},
        [[(2, 8, 8, 4), (2, 1, 1, 4)]],
        ["kernel"],
        [],
    ),
    "norm": (
        BatchNormalization,
        {"momentum": 0.9, "epsilon": 1e-5},
        [(2, 8, 8, 4)],
        ["gamma", "beta"],
        ["moving_mean", "moving_variance"],
    ),
    "bias": (Bias, {"bias_initializer": "ones"}, [(2, 8, 8, 4)], ["bias"], []),
    "series_adapter": (
        SeriesAdapter,
        {"kernel_initializer": "glorot_uniform", "momentum": 0.8, "epsilon": 1e-3},
        [(2, 8, 8, 4)],
        ["kernel", "gamma", "beta"],
        ["moving_mean", "moving_variance"],
    ),
    "parallel_adapter": (
        ParallelAdapter,
        {"kernel_size": (3, 3), "padding": "same", "dilation_rate": (2, 2), "kernel_initializer": "glorot_uniform"},
        [(2, 8, 8, 6), (2, 8, 8, 4)],
        ["kernel"],
        [],
    ),
    "parallel_adapter_strided": (
        ParallelAdapter,
        {"kernel_size": (3, 3), "strides": (2, 2)},
        [(2, 4, 4, 6), (2, 9, 9, 4)],
        ["kernel"],
        [],
    ),
    "channel_modulation": (ChannelModulation, {"scale_initializer": "ones"}, [(2, 8, 8, 4)], ["scale"], []),
    "low_rank": (
        LowRankModulator,
        {"rank": 2, "down_initializer": "glorot_uniform", "up_initializer": "glorot_uniform"},
        [(2, 8, 8, 4)],
        ["down", "up"],
        [],
    ),
    "pointwise": (
        PointwiseModulator,
        {"rank": 2, "up_initializer": "glorot_uniform", "use_bias": True, "bias_initializer": "ones"},
        [(2, 8, 8, 4)],
        ["down", "up", "bias"],
        [],
    ),
    "squeeze_excite": (
        SqueezeExcite,
        {"reduction": 1, "squeeze_initializer": "he_normal", "excite_initializer": "glorot_uniform"},
        [(2, 8, 8, 4)],
        ["squeeze", "squeeze_bias", "excite", "excite_bias"],
        [],
    ),
    "frozen": (Frozen, {"layer": Conv2D(6, (3, 3))}, [(2, 8, 8, 4)], [], ["kernel", "bias"]),
    "resize": (ResizeTo, {}, [(2, 4, 4, 3), (2, 9, 7, 1)], [], []),
}


def test_every_layer_has_a_case():
    listed = {getattr(rc_keras.layers, name) for name in rc_keras.layers.__all__}
    assert {case[0] for case in CASES.values()} == listed - {rc_keras.layers.Adapter}


@pytest.mark.parametrize("case", CASES)
def test_contract(case, tmp_path):
    layer_class, arguments, shapes, trainable, frozen = CASES[case]
    config = layer_class(**arguments).get_config()
    if "layer" not in arguments:  # all but wrappers take plain data
        arguments = {name: config[name] for name in arguments}
    check_layer(layer_class, arguments, shapes, trainable, frozen, tmp_path)


@pytest.mark.parametrize("case", [name for name, (_, _, shapes, *_) in CASES.items() if len(shapes) == 1])
def test_keras_check_of_layers(case):
    """What Keras checks of its own layers: config, symbolic and eager calls, a training step, mixed precision."""
    layer_class, arguments, (shape,), trainable, frozen = CASES[case]
    testing.TestCase("run_layer_test").run_layer_test(
        layer_class,
        arguments,
        input_shape=shape,
        expected_num_trainable_weights=len(trainable),
        expected_num_non_trainable_weights=len(frozen),
        expected_num_seed_generators=0,
        run_mixed_precision_check="layer" not in arguments,  # a wrapped layer has a precision of its own
        run_training_check=bool(trainable) and isinstance(shape, tuple),  # it feeds no lists of tensors
    )


def test_one_integer_stands_for_two():
    layer = BankConv2D(4, kernel_size=3, strides=2, padding="same", dilation_rate=1)
    assert (layer.kernel_size, layer.strides, layer.dilation_rate) == ((3, 3), (2, 2), (1, 1))
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 2)).astype("float32")
    plain = keras.layers.Conv2D(4, 3, 2, "same", use_bias=False)
    plain.build(x.shape)
    layer.build(x.shape)
    layer.kernel.assign(plain.kernel)
    received, expected = (keras.ops.convert_to_numpy(each(x)) for each in (layer, plain))
    np.testing.assert_allclose(received, expected, rtol=FLOAT32, atol=FLOAT32)
    for name, wrong in (("kernel_size", 0), ("kernel_size", (3, 3, 3)), ("strides", (1, 1.5)), ("dilation_rate", -1)):
        with pytest.raises(ValueError, match=f"`{name}` must be a positive integer, or two. Received: {name}="):
            BankConv2D(4, **{"kernel_size": 3, name: wrong})


def test_bank_cannot_be_thawed():
    layer = BankConv2D(4, (3, 3))
    model = keras.Sequential([keras.Input((8, 8, 2)), layer])
    model.trainable = False
    model.trainable = True
    layer.trainable = True
    assert model.trainable_variables == []


def drawn(layer, *input_shapes):
    """The layer, built, with random weights: the norm's statistics too."""
    layer.build(*input_shapes)
    generator = np.random.default_rng(0)
    for variable in layer.weights:
        variable.assign(generator.uniform(0.5, 1.5, variable.shape))
    return layer


def test_series_adapter_is_a_matrix_behind_its_norm():
    layer = drawn(SeriesAdapter(), (None, None, None, 3))
    z = np.random.default_rng(1).normal(size=(2, 4, 4, 3)).astype("float32")
    gamma, beta, mean, variance = (keras.ops.convert_to_numpy(w) for w in layer.norm.weights)
    normalized = gamma * (z - mean) / np.sqrt(variance + 1e-5) + beta
    expected = z + normalized @ keras.ops.convert_to_numpy(layer.kernel)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(z)), expected, rtol=FLOAT32, atol=FLOAT32)


@pytest.mark.parametrize(
    ("size", "taps", "settings"),
    [
        (8, 3, {"padding": "same"}),
        (8, 3, {"padding": "same", "dilation_rate": (2, 2)}),
        (8, 3, {"padding": "same", "strides": (2, 2)}),
        (9, 3, {"padding": "same", "strides": (2, 2)}),
        (9, 5, {"padding": "same", "strides": (3, 3)}),
        (9, 3, {"padding": "valid", "strides": (2, 2)}),
        (11, 7, {"padding": "valid", "strides": (2, 2)}),
        (12, 3, {"padding": "valid", "dilation_rate": (3, 3)}),
        (8, 4, {"padding": "valid", "strides": (4, 4)}),
        (9, 1, {"padding": "valid", "strides": (2, 2)}),
    ],
)
def test_parallel_adapter_adds_to_the_centre_tap(size, taps, settings):
    x = np.random.default_rng(0).normal(size=(2, size, size, 3)).astype("float32")
    bank = drawn(BankConv2D(4, (taps, taps), **settings), x.shape)
    responses = bank(x)
    layer = drawn(ParallelAdapter((taps, taps), **settings), responses.shape, x.shape)
    received = layer(responses, x)
    centre = (taps - 1) // 2
    kernel = np.array(keras.ops.convert_to_numpy(bank.kernel))
    kernel[centre, centre] += keras.ops.convert_to_numpy(layer.kernel)
    bank.kernel.assign(kernel)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(received), keras.ops.convert_to_numpy(bank(x)), rtol=GRADIENT, atol=GRADIENT
    )


def test_parallel_adapter_with_free_sizes():
    settings = {"padding": "same", "strides": (2, 2)}
    image = keras.Input((None, None, 3))
    responses = BankConv2D(4, (3, 3), **settings)(image)
    adapted = ParallelAdapter((3, 3), kernel_initializer="ones", **settings)(responses, image)
    model = keras.Model(image, adapted)
    for size in (8, 9):
        x = np.random.default_rng(0).normal(size=(1, size, size, 3)).astype("float32")
        start = 1 - size % 2
        expected = x[:, start::2, start::2].sum(axis=-1, keepdims=True).repeat(4, axis=-1)
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=FLOAT32, atol=FLOAT32)


def test_low_rank_modulator_adds_to_the_identity():
    layer = drawn(LowRankModulator(2), (None, None, None, 3))
    z = np.random.default_rng(1).normal(size=(2, 4, 4, 3)).astype("float32")
    down, up = (keras.ops.convert_to_numpy(w) for w in layer.weights)
    expected = z @ (np.eye(3) + down @ up)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(z)), expected, rtol=FLOAT32, atol=FLOAT32)
    with pytest.raises(ValueError, match="positive integer"):
        LowRankModulator(0)


def test_squeeze_excite_gates_by_the_mean():
    layer = drawn(SqueezeExcite(2), (None, None, None, 4))
    x = np.random.default_rng(1).normal(size=(2, 4, 4, 4)).astype("float32")
    w1, b1, w2, b2 = (keras.ops.convert_to_numpy(w) for w in layer.weights)
    gate = 2 / (1 + np.exp(-(np.maximum(x.mean(axis=(1, 2)) @ w1 + b1, 0) @ w2 + b2)))
    expected = x * gate[:, None, None]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x)), expected, rtol=FLOAT32, atol=FLOAT32)


def test_modulator_normalizes_rows():
    generator = np.random.default_rng(0)
    layer = Modulator(5)
    layer.build((None, None, None, 3))
    direction, gain = generator.normal(size=(3, 5)), generator.normal(size=5)
    layer.direction.assign(direction)
    layer.gain.assign(gain)
    responses = generator.normal(size=(2, 4, 4, 3)).astype("float32")
    rows = gain[:, None] * direction.T / np.linalg.norm(direction.T, axis=1, keepdims=True)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(layer(responses)), responses @ rows.T, rtol=FLOAT32, atol=FLOAT32
    )


def test_modulator_with_a_row_of_zeros_answers_zeros():
    layer = Modulator(2, direction_initializer="zeros")
    answer = keras.ops.convert_to_numpy(layer(np.ones((1, 1, 1, 3), "float32")))
    np.testing.assert_array_equal(answer, 0.0)


@pytest.mark.parametrize("normalize", [True, False])
def test_modulator_takes_a_matrix(normalize):
    matrix = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
    layer = Modulator(5, normalize=normalize)
    layer.build((None, None, None, 3))
    layer.set_matrix(matrix)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer.matrix()), matrix, rtol=FLOAT32)


@pytest.mark.parametrize(
    ("size", "rate", "dtype"), [(8, 2, "float32"), (8, 6, "float32"), (8, 18, "float32"), (9, 3, "bfloat16")]
)
def test_dilated_convolution_and_its_gradients(size, rate, dtype):
    generator = np.random.default_rng(0)
    image = generator.normal(size=(2, size, size, 3)).astype("float32")
    kernel = generator.normal(size=(3, 3, 3, 4)).astype("float32")
    weight = generator.normal(size=(2, size, size, 4)).astype("float32")
    tolerance = GRADIENT if dtype == "float32" else 0.05

    reach = rate
    padded = np.pad(image, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    expected = np.zeros((2, size, size, 4))
    by_image, by_kernel = np.zeros_like(padded), np.zeros_like(kernel)
    for i in range(3):
        for j in range(3):
            window = np.s_[:, i * rate : i * rate + size, j * rate : j * rate + size]
            expected += padded[window] @ kernel[i, j]
            by_kernel[i, j] = np.einsum("bhwc,bhwo->co", padded[window], weight)
            by_image[window] += weight @ kernel[i, j].T
    by_image = by_image[:, reach:-reach, reach:-reach]

    x, k = keras.Variable(image, dtype=dtype), keras.Variable(kernel, dtype=dtype)

    def loss():
        y = convolution.conv2d(keras.ops.convert_to_tensor(x), k, padding="same", dilation_rate=(rate, rate))
        return keras.ops.sum(keras.ops.multiply(keras.ops.cast(y, "float32"), weight)), y

    y, gradients = _gradients(loss, [x, k])
    for got, want in ((y, expected), (gradients[0], by_image), (gradients[1], by_kernel)):
        got = keras.ops.convert_to_numpy(keras.ops.cast(got, "float32"))
        np.testing.assert_allclose(got, want, atol=tolerance * np.abs(want).max())


def _gradients(function, variables):
    with keras.StatelessScope() if keras.backend.backend() == "jax" else _Nothing():
        return gradients.value_and_gradients(function, variables, [])


class _Nothing:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


def test_resize_has_half_pixel_centres():
    image = np.arange(4, dtype="float32").reshape(1, 1, 4, 1).repeat(2, axis=1)
    resized = ResizeTo()(image, np.zeros((1, 2, 8, 1)))
    expected = [0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(resized)[0, 0, :, 0], expected, atol=FLOAT32)
