"""The maps that decoders see are outputs of blocks, whatever network is brought."""

import keras
import numpy as np
import pytest
from support.tiny import SIZE, TASKS, MicroDecoder, micro_backbone, tiny_backbone, tiny_data, tiny_model

import rc_keras
from rc_keras.base.keras_internals import producer
from rc_keras.network.features import with_named_features

PLACE = rc_keras.Task("place", 4, "classification")
APPLICATIONS = keras.applications
# {network: (layer of the low-level map, its channels)}, and the size of image where only one will do
LOW_LEVEL = {
    "MobileNet": ("conv_pw_3_relu", 128),
    "MobileNetV2": ("block_2_add", 24),
    "MobileNetV3Small": ("expanded_conv_project_bn", 16),
    "VGG16": ("block3_conv3", 256),
}
SLOW_LOW_LEVEL = {
    "ConvNeXtTiny": (None, 96),
    "DenseNet121": ("pool2_relu", 256),
    "EfficientNetB0": ("block2b_add", 24),
    "EfficientNetV2B0": ("block2b_add", 32),
    "InceptionV3": (None, 192),
    "MobileNetV3Large": ("expanded_conv_2_add", 24),
    "NASNetMobile": ("reduction_concat_stem_1", 44),
    "ResNet50": ("conv2_block3_out", 256),
    "ResNet50V2": ("conv2_block2_out", 256),
    "Xception": (None, 128),
}
CASES = [
    *LOW_LEVEL.items(),
    *(pytest.param(*item, marks=pytest.mark.slow) for item in SLOW_LOW_LEVEL.items()),
]


@pytest.mark.parametrize(("name", "expected"), CASES)
def test_the_low_level_map_is_the_output_of_a_block(name, expected):
    options = {"input_shape": (224, 224, 3)} if name == "NASNetMobile" else {}
    network = getattr(APPLICATIONS, name)(include_top=False, weights=None, **options)
    encoder = with_named_features(network)
    layer, channels = expected
    assert encoder.output["low_level"].shape[-1] == channels
    assert encoder.output["high_level"].shape == network.output.shape
    if layer is not None:
        assert producer(encoder.output["low_level"]).name == layer


def bottlenecks(size=SIZE, name="bottlenecks"):
    """Two residual blocks at stride 4, and one that strides in its second convolution, as ResNetV2's do."""
    image = keras.Input((size, size, 3))
    x = keras.layers.Conv2D(16, 4, strides=4, name="stem")(image)
    for block in (1, 2, 3):
        stride = 2 if block == 3 else 1
        preact = keras.layers.ReLU(name=f"block{block}_preact")(x)
        inner = keras.layers.Conv2D(4, 1, activation="relu", name=f"block{block}_1")(preact)
        inner = keras.layers.Conv2D(4, 3, strides=stride, padding="same", name=f"block{block}_2")(inner)
        inner = keras.layers.Conv2D(16, 1, name=f"block{block}_3")(inner)
        shortcut = keras.layers.MaxPooling2D(1, strides=2)(x) if stride > 1 else x
        x = keras.layers.Add(name=f"block{block}_out")([shortcut, inner])
    return keras.Model(image, x, name=name)


def test_interiors_of_a_striding_block_are_passed_over():
    encoder = with_named_features(bottlenecks())
    assert producer(encoder.output["low_level"]).name == "block2_out"


def test_stems_without_padding():
    """Their maps are a little smaller than the image over the stride."""
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, name="stem1")(image)  # 127 of 256
    x = keras.layers.Conv2D(4, 3, strides=2, name="stem2")(x)  # 63
    x = keras.layers.Conv2D(4, 3, name="stem3")(x)  # 61
    x = keras.layers.Cropping2D(1, name="cropped")(x)  # 59, of no block
    x = keras.layers.Conv2D(4, 3, strides=2, name="high")(x)
    encoder = with_named_features(keras.Model(image, x))
    assert producer(encoder.output["low_level"]).name == "stem3"


def test_maps_are_named():
    backbone = bottlenecks()
    encoder = with_named_features(backbone, low_level="block1_out", high_level="block2_out")
    images = tiny_data(2)[0].astype("float32")
    expected = keras.Model(backbone.input, [backbone.get_layer(f"block{at}_out").output for at in (1, 2)])
    for name, value in zip(("low_level", "high_level"), expected.predict(images, verbose=0), strict=True):
        np.testing.assert_array_equal(encoder.predict(images, verbose=0)[name], value)
    assert "block3_1" not in {layer.name for layer in encoder.layers}
    model = tiny_model(TASKS[:1], backbone=backbone, low_level="block1_out", high_level="block2_out", decoder="lraspp")
    assert model.bank.template.output["high_level"].shape == (None, 8, 8, 16)
    with pytest.raises(ValueError, match="`low_level` must be one of .*Did you mean 'block2_out'"):
        tiny_model(TASKS[:1], backbone=backbone, low_level="block2_outt")
    with pytest.raises(ValueError, match="`high_level` must be one of"):
        tiny_model(TASKS[:1], backbone=backbone, high_level="nothing")


def test_maps_of_a_classifier_and_of_a_backbone_by_name():
    encoder = with_named_features(with_top(bottlenecks()), high_level="block3_out")
    assert producer(encoder.output["low_level"]).name == "block2_out"
    assert encoder.output["high_level"].shape == (None, 4, 4, 16)
    model = rc_keras.build(
        ["depth"], "resnet18", image_shape=(64, 64, 3), low_level="layer2_1_relu2", decoder=MicroDecoder()
    )
    assert model.bank.template.output["low_level"].shape == (None, 8, 8, 128)
    assert model.bank.template.output["high_level"].shape == (None, 4, 4, 512)


def with_top(network):
    x = keras.layers.GlobalAveragePooling2D()(network.output)
    return keras.Model(network.input, keras.layers.Dense(5)(x))


@pytest.mark.parametrize("inputs", ["list", "dict", "tensor"])
@pytest.mark.parametrize("outputs", ["map", "pyramid", "list"])
def test_pyramids_and_inputs_in_lists(inputs, outputs):
    """`keras.Model(net.inputs, net.pyramid_outputs)` and `keras.Model([image], x)`."""
    net = bottlenecks()
    levels = {"P2": net.get_layer("block2_out").output, "P3": net.output}
    given = {"list": net.inputs, "dict": {"images": net.inputs[0]}, "tensor": net.inputs[0]}[inputs]
    answered = {"map": net.output, "pyramid": levels, "list": list(levels.values())}[outputs]
    backbone = keras.Model(given, answered)
    model = tiny_model(TASKS[:1], backbone=backbone, decoder="lraspp", method="rc_identity")
    images = tiny_data(2)[0].astype("float32")
    expected = keras.Model(net.inputs[0], list(levels.values())).predict(images, verbose=0)
    received = model.bank.template.predict(images, verbose=0)
    for name, value in zip(("low_level", "high_level"), expected, strict=True):
        np.testing.assert_allclose(received[name], value, rtol=0, atol=1e-5 * np.ptp(value))


def test_a_key_of_a_pyramid_is_a_name():
    net = bottlenecks()
    backbone = keras.Model(net.inputs, {"P2": net.get_layer("block1_out").output, "P3": net.output})
    assert producer(with_named_features(backbone).output["low_level"]).name == "block1_out"
    encoder = with_named_features(backbone, low_level="P3")
    assert producer(encoder.output["low_level"]).name == "block3_out"


class OfItsSize(keras.layers.Layer):
    """As position embeddings: of maps of 8x8 alone."""

    def build(self, input_shape):
        self.positions = self.add_weight(shape=(1, 8, 8, input_shape[-1]))

    def call(self, inputs):
        return inputs + self.positions

    def compute_output_shape(self, input_shape):
        if tuple(input_shape[1:3]) != (8, 8):
            raise ValueError("maps of 8x8 alone")
        return input_shape


def test_a_backbone_that_takes_its_own_size_alone():
    image = keras.Input((SIZE, SIZE, 3))
    x = OfItsSize(name="low")(keras.layers.Conv2D(8, 4, strides=4)(image))
    backbone = keras.Model(image, keras.layers.Conv2D(8, 3, strides=2, padding="same")(x), name="sized")
    with keras.saving.custom_object_scope({"OfItsSize": OfItsSize}):
        model = tiny_model(TASKS[:1], backbone=backbone)
        assert producer(model.bank.template.output["low_level"]).name == "low"
        shared = tiny_model(TASKS[:1], backbone=backbone, shared_stages=1)
        assert [layer.name for layer in shared.bank.frozen_layers][-1:] == ["low"]
        with pytest.raises(ValueError, match=r"`image_shape` must be one that `backbone` takes, .*\(32, 32, 3\)"):
            tiny_model(TASKS[:1], backbone=backbone, image_shape=(64, 64, 3))


def tokens(size=(32, 48), leading=1, patch=8):
    """Patches of 8 pixels, embedded, with tokens in front of them."""
    image = keras.Input((*size, 3))
    x = keras.layers.Conv2D(12, patch, strides=patch, name="embedding")(image)
    x = keras.layers.Reshape((-1, 12), name="tokens")(x)
    if leading:
        x = keras.layers.ZeroPadding1D((leading, 0), name="class_token")(x)
    return keras.Model(image, keras.layers.Dense(12, name="mixing")(x), name="vit")


@pytest.mark.parametrize("leading", [0, 1, 5])
def test_tokens_become_a_map(leading):
    backbone = tokens(leading=leading)
    encoder = with_named_features(backbone, low_level="embedding")
    images = np.random.default_rng(0).normal(size=(2, 32, 48, 3)).astype("float32")
    expected = backbone.predict(images, verbose=0)[:, leading:].reshape(2, 4, 6, 12)
    np.testing.assert_array_equal(encoder.predict(images, verbose=0)["high_level"], expected)
    model = rc_keras.build(
        [rc_keras.Task("depth", 1, "depth")],
        backbone,
        "lraspp",
        image_shape=(32, 48, 3),
        method="single_task",
        low_level="tokens",
    )
    assert model(images)["depth"].shape == (2, 32, 48, 1)


def test_tokens_that_are_no_patches():
    with pytest.raises(ValueError, match="must be patches of an image .*Received: 31 tokens"):
        with_named_features(tokens(leading=7), low_level="embedding")


def test_a_classification_task_needs_no_low_level_map():
    image = keras.Input((SIZE, SIZE, 3))
    backbone = keras.Model(image, keras.layers.Conv2D(4, 3, strides=8, padding="same")(image))
    model = tiny_model([PLACE], backbone=backbone, decoder="deeplabv3plus")
    assert set(model.bank.template.output) == {"high_level"}
    assert model(tiny_data(2)[0])["place"].shape == (2, 4)
    with pytest.raises(ValueError, match="must have the features that `decoder` uses.*'low_level' of .'high_level'"):
        model.add_task(TASKS[3])
    model.add_task(TASKS[3], MicroDecoder())
    bank = rc_keras.FilterBank.from_task(model, "depth", method="rc_identity")
    assert set(bank.template.output) == {"high_level", "prediction"}


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


@pytest.mark.parametrize(
    "backbone",
    [
        keras.Sequential([keras.Input((SIZE, SIZE, 3)), keras.layers.Conv2D(4, 3)]),
        keras.Sequential([keras.layers.Conv2D(4, 3)]),
        Subclassed(),
    ],
    ids=["sequential", "unbuilt", "subclassed"],
)
def test_what_is_no_functional_model(backbone):
    for weights in (None, "w.npz"):
        with pytest.raises(ValueError, match="`backbone` must be a functional keras.Model"):
            tiny_model(TASKS[:1], backbone=backbone, weights=weights)
    with pytest.raises(ValueError, match="`backbone` must be a functional keras.Model"):
        rc_keras.FilterBank(backbone)


def test_two_images_are_refused():
    images = [keras.Input((SIZE, SIZE, 3)) for _ in range(2)]
    with pytest.raises(ValueError, match="must have one image input"):
        tiny_model(TASKS[:1], backbone=keras.Model(images, keras.layers.Add()(images)))


@pytest.mark.parametrize("backbone", [micro_backbone, tiny_backbone])
def test_named_features_stay(backbone):
    network = backbone()
    assert with_named_features(network) is network
