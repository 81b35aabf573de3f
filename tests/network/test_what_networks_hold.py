"""What becomes of anything that a network may hold: the table in the guide, row by row."""

import re

import keras
import numpy as np
import pytest
from support.folders import ROOT
from support.tiny import SIZE, TASKS, randomize_norms, tiny_model

from rc_keras import FilterBank, graft

ROUNDING = 1e-5  # of the range: float32 in another order
RANK = 1
GUIDE = (ROOT / "docs" / "guides" / "networks.md").read_text(encoding="utf-8")

layers = keras.layers
BIASED = {"bias_initializer": "normal"}


def network(*body):
    """A stem, which is shared, and layers behind it."""
    image = keras.Input((SIZE, SIZE, 3))
    low = layers.Conv2D(8, 4, strides=4, name="stem")(image)
    x = low
    for layer in body:
        x = layer(x)
    return keras.Model(image, {"low_level": low, "high_level": x})


def conv(name="conv", size=3, **options):
    return layers.Conv2D(8, size, name=name, **{"padding": "same", **options})


class Standardized(layers.Conv2D):
    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, kernel - keras.ops.mean(kernel))


class Block(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = conv("inner")

    def build(self, input_shape):
        self.inner.build(input_shape)

    def call(self, inputs):
        return inputs + self.inner(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape


class Scale(layers.Layer):
    """Without `get_config`, and with a setting that Keras does not know how to write."""

    def __init__(self, start, **kwargs):
        super().__init__(**kwargs)
        self.start = start

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones")

    def call(self, inputs):
        return inputs * self.scale


class Forgetful(Scale):
    def get_config(self):
        return layers.Layer.get_config(conv())


def attention(x):
    tokens = layers.Reshape((64, 8), name="tokens")(x)
    tokens = layers.MultiHeadAttention(2, 4, name="attention")(tokens, tokens)
    return layers.Reshape((8, 8, 8), name="map")(tokens)


def along_rows(x):
    tokens = layers.Reshape((64, 8), name="tokens")(x)
    tokens = layers.Conv1D(8, 3, padding="same", name="conv1d")(tokens)
    return layers.Reshape((8, 8, 8), name="map")(tokens)


def in_three_dimensions(x):
    volume = layers.Reshape((8, 8, 8, 1), name="volume")(x)
    volume = layers.Conv3D(1, 3, padding="same", name="conv3d")(volume)
    return layers.Reshape((8, 8, 8), name="flat")(volume)


def twice(x):
    layer = conv("twice", activation="relu")
    return layer(layer(x))


def nested(x):
    inside = keras.Input((None, None, 8))
    return keras.Model(inside, conv("inside")(inside), name="model")(x)


ATTENTION = {f"attention_{part}" for part in ("query", "key", "value", "output")}
# {row: (network, names in the bank beside the stem's, the same with `pointwise_rank`, layers that each task copies)}
KEPT = {
    "grouped convolutions": (lambda: network(conv(groups=2)), {"conv"}, {"conv"}, ()),
    "`use_bias=True`": (lambda: network(conv(**BIASED)), {"conv"}, {"conv"}, ()),
    "an activation inside a convolution": (lambda: network(conv(activation="gelu", **BIASED)), {"conv"}, {"conv"}, ()),
    "`dilation_rate`": (lambda: network(conv(dilation_rate=2)), {"conv"}, {"conv"}, ()),
    "strides without padding": (lambda: network(conv(strides=2, padding="valid")), {"conv"}, {"conv"}, ()),
    "1x1 convolutions": (lambda: network(conv(size=1, **BIASED)), set(), {"conv"}, ("conv",)),
    "`SeparableConv2D`": (
        lambda: network(layers.SeparableConv2D(8, 3, name="separable", **BIASED)),
        set(),
        {"separable"},
        ("separable",),
    ),
    "`Dense`, `EinsumDense`": (
        lambda: network(
            layers.Dense(8, activation="relu", name="dense"),
            layers.EinsumDense("abcd,de->abce", (8, 8, 8), name="einsum"),
        ),
        set(),
        {"dense", "einsum"},
        ("dense", "einsum"),
    ),
    "`MultiHeadAttention`": (lambda: network(attention), set(), ATTENTION, ("attention",)),
    "`DepthwiseConv2D`": (
        lambda: network(layers.DepthwiseConv2D(3, padding="same", name="depthwise")),
        set(),
        set(),
        ("depthwise",),
    ),
    "`Conv2DTranspose`, `Conv1D`, `Conv3D`": (
        lambda: network(
            layers.Conv2DTranspose(8, 3, strides=2, name="transpose"),
            layers.Resizing(8, 8),
            along_rows,
            in_three_dimensions,
        ),
        set(),
        set(),
        ("transpose", "conv1d", "conv3d"),
    ),
    "a subclass of `Conv2D`": (
        lambda: network(Standardized(8, 3, name="standardized")),
        set(),
        set(),
        ("standardized",),
    ),
    "a layer of your own with layers inside": (
        lambda: network(Block(name="block")),
        set(),
        {"block_inner"},
        ("block",),
    ),
    "norms": (
        lambda: network(conv(), layers.BatchNormalization(name="batch"), layers.LayerNormalization(name="layer")),
        {"conv"},
        {"conv"},
        ("batch", "layer"),
    ),
    "dropout": (lambda: network(conv(), layers.Dropout(0.5, name="dropout")), {"conv"}, {"conv"}, ()),
    "operations, as `x / 2`": (
        lambda: network(lambda x: keras.ops.relu(x) / 2, conv()),
        {"conv"},
        {"conv"},
        (),
    ),
    "`Lambda` with a function of Keras": (
        lambda: network(layers.Lambda(keras.ops.relu, name="lambda"), conv()),
        {"conv"},
        {"conv"},
        (),
    ),
    "a layer that is called twice": (lambda: network(twice), {"twice"}, {"twice"}, ()),
    "a model within the model": (lambda: network(nested), {"inside"}, {"inside"}, ()),
}


@pytest.mark.parametrize("rank", [None, RANK])
@pytest.mark.parametrize("row", KEPT)
def test_what_is_kept(row, rank):
    make, shared, with_rank, copied = KEPT[row]
    keras.utils.set_random_seed(0)
    backbone = make()
    randomize_norms(backbone)
    bank = FilterBank(backbone, "rcm", pointwise_rank=rank)
    assert set(bank.convolutions) == {"stem", *(shared if rank is None else with_rank)}
    branch = graft(bank, "edge")
    names = {layer.name for layer in branch.layers}
    if rank is None:  # else some are opened
        assert {f"edge__{name}" for name in copied} <= names
    images = np.random.default_rng(0).normal(size=(2, SIZE, SIZE, 3)).astype("float32")
    ours, expected = (keras.ops.convert_to_numpy(net(images)["high_level"]) for net in (branch, backbone))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=ROUNDING * np.ptp(expected))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.conv = conv(strides=4)

    def call(self, inputs):
        return self.conv(inputs)


def subclassed():
    model = Subclassed()
    model(np.zeros((1, SIZE, SIZE, 3)))
    return model


def channels_first():
    image = keras.Input((3, SIZE, SIZE))
    return keras.Model(image, conv("odd", strides=4, data_format="channels_first")(image))


def channels_first_inside():
    image = keras.Input((SIZE, SIZE, 3))
    x = conv("odd", strides=4, data_format="channels_first")(layers.Permute((3, 1, 2))(image))
    return keras.Model(image, layers.Permute((2, 3, 1))(x))


def two_inputs():
    images = [keras.Input((SIZE, SIZE, channels)) for channels in (3, 1)]
    return keras.Model(images, conv(strides=4)(layers.Concatenate()(images)))


@keras.saving.register_keras_serializable(package="tests")
class OfTuples(layers.Layer):
    """Its shape comes from a file as a list."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(1,) + shape[-1:], name="scale")

    def call(self, x):
        return x * self.scale


def classifier():
    image = keras.Input((SIZE, SIZE, 3))
    return keras.Model(image, layers.Dense(3)(layers.Flatten()(conv(strides=4)(image))))


def nothing():
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.DepthwiseConv2D(4, strides=4)(image)
    return keras.Model(image, {"low_level": x, "high_level": x})


REFUSED = {  # {row: (network, message)}
    "channels first": (channels_first, r"must take images \(batch, height, width, channels\).*'odd'"),
    "channels first between `Permute`": (channels_first_inside, "must have data_format='channels_last'.*'odd'"),
    "several inputs": (two_inputs, "must have one image input"),
    "`Sequential` as the whole": (
        lambda: keras.Sequential([keras.Input((SIZE, SIZE, 3)), conv(strides=4)]),
        "must be a functional keras.Model",
    ),
    "a subclassed `Model`": (subclassed, "must be a functional keras.Model"),
    "`Lambda` with a Python lambda": (
        lambda: network(layers.Lambda(lambda x: 2 * x, name="odd")),
        "must come back by `from_config`.*'odd', of Lambda: .*Python lambda",
    ),
    "a layer that does not come back from its configuration": (
        lambda: network(Forgetful(1.0, name="odd")),
        "must come back by `from_config`.*'odd', of Forgetful: .*'start'",
    ),
    "a layer whose `build` takes no list": (
        lambda: network(OfTuples(name="odd")),
        "must come back by .*`build_from_config`.*with lists for tuples.*'odd', of OfTuples",
    ),
    "a classifier's top": (classifier, "must answer one feature map"),
    "nothing to share": (nothing, "must hold convolutions larger than what a task adds to them"),
}


@pytest.mark.parametrize("row", REFUSED)
def test_what_is_refused(row):
    make, message = REFUSED[row]
    with pytest.raises(ValueError, match=f"(?s){message}"):
        tiny_model(TASKS[:1], backbone=make())


def test_a_frozen_backbone_is_told_of():
    frozen = network(layers.BatchNormalization(name="norm"))
    frozen.trainable = False
    with pytest.warns(UserWarning, match="1 layers of .* have `trainable=False`.*: norm. The filter bank is frozen"):
        tiny_model(TASKS[:1], backbone=frozen)


def test_a_layer_without_get_config_is_told_of():
    with pytest.raises(ValueError, match=r"'odd', of Scale: .* must override `get_config\(\)`"):
        tiny_model(TASKS[:1], backbone=network(Scale(object(), name="odd")))
    assert tiny_model(TASKS[:1], backbone=network(Scale(1.0, name="even"))).branch("semseg").get_layer("semseg__even")


def test_the_guide_has_these_rows():
    rows = set(re.findall(r"^\| ([^|]+?) \|", GUIDE, re.MULTILINE)) - {"in your network", "---"}
    assert {*KEPT, *REFUSED} <= rows
