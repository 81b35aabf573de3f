"""A given network is dilated as ours are, with its own weights, or it is said why not."""

import keras
import numpy as np
import pytest
from support.tiny import SIZE, TASKS, micro_backbone, randomize_norms, tiny_backbone, tiny_data, tiny_model

import rc_keras
from rc_keras.backbones.output_stride import with_output_stride
from rc_keras.network.features import with_named_features

ROUNDING = 1e-5  # of the range: the same products, perhaps in another order


def assert_same_features(received, expected, images):
    received, expected = (network.predict(images, verbose=0) for network in (received, expected))
    for name, value in expected.items():
        np.testing.assert_allclose(received[name], value, rtol=0, atol=ROUNDING * np.ptp(value), err_msg=name)


def assert_same_at_more_pixels(received, expected, tolerance=ROUNDING):
    """Every n-th row and column of a map, from the first or the last of n on, as the network's padding has it."""
    factor = received.shape[1] // expected.shape[1]
    grids = [received[:, first::factor, first::factor] for first in (0, factor - 1)]
    near = min(grids, key=lambda grid: np.abs(grid - expected).max())
    np.testing.assert_allclose(near, expected, rtol=0, atol=tolerance * np.ptp(expected))


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_answers_what_it_answered_at_more_pixels(output_stride):
    plain = tiny_backbone(size=2 * SIZE, output_stride=32)
    dilated = with_output_stride(plain, output_stride)
    images = np.random.default_rng(0).uniform(0, 255, (2, 2 * SIZE, 2 * SIZE, 3)).astype("float32")
    expected, received = (network.predict(images, verbose=0) for network in (plain, dilated))
    assert received["high_level"].shape[1] == 2 * SIZE // output_stride
    assert_same_at_more_pixels(received["high_level"], expected["high_level"])
    np.testing.assert_array_equal(received["low_level"], expected["low_level"])
    assert (dilated is plain) == (output_stride == 32)
    assert plain.output["high_level"].shape[1] == 2  # as it was


def hand_dilated_resnet50(output_stride):
    """Keras's ResNet50, written down again: strides are those of the first 1x1 kernels of a stage."""

    def block(x, filters, name, stride, rate, project):
        shortcut = x
        if project:
            shortcut = keras.layers.Conv2D(4 * filters, 1, stride, name=f"{name}_0_conv")(x)
            shortcut = keras.layers.BatchNormalization(epsilon=1.001e-5, name=f"{name}_0_bn")(shortcut)
        x = keras.layers.Conv2D(filters, 1, stride, name=f"{name}_1_conv")(x)
        x = keras.layers.BatchNormalization(epsilon=1.001e-5, name=f"{name}_1_bn")(x)
        x = keras.layers.ReLU()(x)
        x = keras.layers.Conv2D(filters, 3, padding="same", dilation_rate=rate, name=f"{name}_2_conv")(x)
        x = keras.layers.BatchNormalization(epsilon=1.001e-5, name=f"{name}_2_bn")(x)
        x = keras.layers.ReLU()(x)
        x = keras.layers.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
        x = keras.layers.BatchNormalization(epsilon=1.001e-5, name=f"{name}_3_bn")(x)
        return keras.layers.ReLU()(keras.layers.Add()([shortcut, x]))

    image = keras.Input((96, 96, 3))
    x = keras.layers.Conv2D(64, 7, 2, name="conv1_conv")(keras.layers.ZeroPadding2D(3)(image))
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(epsilon=1.001e-5, name="conv1_bn")(x))
    x = keras.layers.MaxPooling2D(3, 2)(keras.layers.ZeroPadding2D(1)(x))
    stages = {16: ((1, 1), (2, 1), (2, 1), (1, 2)), 8: ((1, 1), (2, 1), (1, 2), (1, 4))}[output_stride]
    maps = []
    for stage, (depth, (stride, rate)) in enumerate(zip((3, 4, 6, 3), stages, strict=True)):
        for at in range(depth):
            first = at == 0
            x = block(x, 64 * 2**stage, f"conv{stage + 2}_block{at + 1}", stride if first else 1, rate, first)
        maps.append(x)
    return keras.Model(image, {"low_level": maps[0], "high_level": maps[3]})


@pytest.mark.slow
@pytest.mark.parametrize("output_stride", [8, 16])
def test_equals_a_resnet50_dilated_by_hand(output_stride):
    network = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(96, 96, 3))
    randomize_norms(network)
    expected = hand_dilated_resnet50(output_stride)
    for layer in expected.layers:
        if layer.weights:
            layer.set_weights(network.get_layer(layer.name).get_weights())
    dilated = with_output_stride(with_named_features(network), output_stride)
    assert dilated.output["high_level"].shape[1:3] == (96 // output_stride,) * 2
    assert_same_features(dilated, expected, np.random.default_rng(0).normal(size=(1, 96, 96, 3)).astype("float32"))


@pytest.mark.parametrize(
    "name",
    [
        "MobileNet",
        "MobileNetV2",
        "MobileNetV3Small",
        pytest.param("DenseNet121", marks=pytest.mark.slow),
        pytest.param("EfficientNetB0", marks=pytest.mark.slow),
        pytest.param("EfficientNetV2B0", marks=pytest.mark.slow),
        pytest.param("MobileNetV3Large", marks=pytest.mark.slow),
        pytest.param("ResNet50V2", marks=pytest.mark.slow),
        pytest.param("VGG16", marks=pytest.mark.slow),
    ],
)
def test_networks_of_keras(name):
    """Each weight stays, the low-level map too, and the high-level map is what it was, at more pixels."""
    network = getattr(keras.applications, name)(include_top=False, weights=None, input_shape=(64, 64, 3))
    randomize_norms(network)
    for layer in network.layers:  # makes gates constant: squeeze-and-excite blocks average over more pixels
        if layer.name.endswith(("se_expand", "squeeze_excite_conv_1")):
            layer.kernel.assign(keras.ops.zeros_like(layer.kernel))
    encoder = with_named_features(network)
    dilated = with_output_stride(encoder, 16)
    assert dilated.output["high_level"].shape[1:3] == (4, 4)
    before = {layer.name: layer.get_weights() for layer in encoder.layers}
    for layer in dilated.layers:
        for left, right in zip(layer.get_weights(), before[layer.name], strict=True):
            np.testing.assert_array_equal(left, right)
    images = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype("float32")
    expected, received = (model.predict(images, verbose=0) for model in (encoder, dilated))
    np.testing.assert_array_equal(received["low_level"], expected["low_level"])
    assert_same_at_more_pixels(received["high_level"], expected["high_level"])


def patches(size=SIZE):
    """Strides with kernels as large as they, behind which every pixel can answer what it answered."""
    image = keras.Input((size, size, 3))
    x = keras.layers.Conv2D(6, 4, strides=4, name="embedding")(image)
    low = keras.layers.Conv2D(6, 1, activation="relu", name="low")(x)
    x = keras.layers.Conv2D(8, 2, strides=2, name="merge1")(low)
    x = keras.layers.Conv2D(8, 2, strides=2, activation="relu", name="merge2")(x)
    x = keras.layers.Conv2D(8, 2, strides=2, name="merge3")(x)
    return keras.Model(image, {"low_level": low, "high_level": x})


def test_even_kernels_answer_what_they_answered_at_every_pixel():
    network = patches(2 * SIZE)
    images = np.random.default_rng(0).normal(size=(2, 2 * SIZE, 2 * SIZE, 3)).astype("float32")
    expected = network.predict(images, verbose=0)["high_level"]
    received = with_output_stride(network, 16).predict(images, verbose=0)["high_level"]
    assert received.shape[1:3] == (4, 4)
    np.testing.assert_allclose(received[:, ::2, ::2], expected, rtol=0, atol=ROUNDING * np.ptp(expected))
    with pytest.raises(ValueError, match="'merge3': its kernel is even"):
        with_output_stride(network, 8)


def test_build_dilates_what_is_given_and_leaves_it_without_the_argument():
    network = tiny_backbone(output_stride=32)
    models = {
        stride: tiny_model(TASKS[:1], backbone=network, output_stride=stride, method="rc_identity")
        for stride in (None, 8, 16)
    }
    sizes = {stride: model.bank.template.output["high_level"].shape[1] for stride, model in models.items()}
    assert sizes == {None: 1, 8: 4, 16: 2}
    named = rc_keras.build(["depth"], "resnet18", image_shape=(64, 64, 3), method="single_task")
    assert named.bank.template.output["high_level"].shape[1] == 4  # 16, as ever
    images = tiny_data(2)[0]
    expected, received = (models[s].bank.template.predict(images, verbose=0)["high_level"] for s in (None, 8))
    assert_same_at_more_pixels(received, expected, 1e-4)


def test_too_large_or_unknown():
    with pytest.raises(ValueError, match="`output_stride` must be at most that of `backbone`, 4"):
        tiny_model(TASKS[:1], output_stride=16)
    for wrong in (12, "16"):
        with pytest.raises(ValueError, match=r"`output_stride` must be one of \[8, 16, 32\]"):
            with_output_stride(micro_backbone(), wrong)


@keras.saving.register_keras_serializable(package="tests")
class Striding(keras.layers.Layer):
    """A block whose convolution nobody sees."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = keras.layers.Conv2D(4, 3, strides=2, padding="same")

    def build(self, input_shape):
        self.inner.build(input_shape)

    def call(self, inputs):
        return self.inner(inputs)

    def compute_output_shape(self, input_shape):
        return self.inner.compute_output_shape(input_shape)


def behind(*layers):
    """A stem of stride 4, and layers behind it."""
    image = keras.Input((SIZE, SIZE, 3))
    low = keras.layers.Conv2D(4, 4, strides=4)(image)
    x = low
    for layer in layers:
        x = layer(x)
    return keras.Model(image, {"low_level": low, "high_level": x})


def conv(strides=2, name="conv", **options):
    return keras.layers.Conv2D(4, 3, strides=strides, name=name, **{"padding": "same", **options})


REFUSED = {
    "a block": ([conv(), Striding(name="odd")], "'odd': it goes from stride 8 to 16 on its own"),
    "strides of 4": ([conv(strides=4, name="odd")], "'odd': it goes from stride 4 to 16 on its own"),
    "a pool behind": (
        [conv(), conv(name="next"), keras.layers.AveragePooling2D(3, 1, "same", name="odd")],
        "'odd': windows of pooling cannot be dilated",
    ),
    "no padding": ([conv(), conv(name="odd", padding="valid")], "'odd': it must pad its map to be dilated"),
    "a kernel of an unknown layer": (
        [conv(), conv(name="next"), keras.layers.Conv2DTranspose(4, 3, padding="same", name="odd")],
        "'odd': it is not known how to dilate a Conv2DTranspose",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_dilated_is_refused_with_the_layer(case):
    layers, message = REFUSED[case]
    with pytest.raises(ValueError, match=f"output_stride=8 for a backbone with layer {message}"):
        with_output_stride(behind(*layers), 8)


def test_a_layer_called_at_several_strides_is_refused():
    twice = keras.layers.Conv2D(4, 3, padding="same", name="twice")
    with pytest.raises(ValueError, match="'twice': it is called at several strides"):
        with_output_stride(behind(twice, conv(), conv(name="next"), twice), 8)
