"""Nested models and composite layers, opened: they compute the same, and their kernels are shared."""

import keras
import numpy as np
import pytest
from support.tiny import SIZE, TASKS, micro_backbone, state, tiny_data, tiny_model

import rc_keras
from rc_keras import FilterBank, graft
from rc_keras.backbones.output_stride import with_output_stride
from rc_keras.layers import BankConv2D
from rc_keras.network.opened import opened

ROUNDING = 1e-5  # of the range: float32 in another order

layers = keras.layers


@pytest.fixture(autouse=True)
def same_weights():
    keras.utils.set_random_seed(0)


def unlike(ours, expected, shape=(SIZE, SIZE, 3), **kwargs):
    """The largest difference of two networks' outputs, as a share of the range."""
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    outputs = [keras.tree.flatten(network(x, **kwargs)) for network in (ours, expected)]
    pairs = [[keras.ops.convert_to_numpy(y) for y in pair] for pair in zip(*outputs, strict=True)]
    return max(np.abs(a - b).max() / np.ptp(b) for a, b in pairs)


def body(name, filters=8, seed=0):
    """Names of layers that other bodies have too."""
    x = inputs = keras.Input((None, None, 8))
    for at, kind in enumerate(("first", "second")):
        initializer = keras.initializers.HeNormal(seed=2 * seed + at)
        settings = {"padding": "same", "kernel_initializer": initializer, "activation": "relu"}
        x = layers.Conv2D(filters if kind == "second" else 8, 3, name=kind, **settings)(x)
    return keras.Model(inputs, layers.BatchNormalization(momentum=0.5, name="norm")(x), name=name)


def nested_backbone(training=None):
    image = keras.Input((SIZE, SIZE, 3))
    stem = keras.Sequential([layers.Rescaling(1 / 64, -2.0), layers.Conv2D(8, 4, strides=4, name="stem")], name="start")
    low = body("left")(stem(image), training=training)
    whole = keras.Sequential([keras.Input((None, None, 8)), body("right", 12, seed=1), layers.ReLU(name="relu")])
    return keras.Model(image, {"low_level": low, "high_level": whole(low)}, name="nested")


def test_nested_models_are_entered():
    backbone, images = nested_backbone(), tiny_data(2)[0]
    network = opened(backbone)
    assert not any(isinstance(layer, keras.Model) for layer in network.layers)
    assert unlike(network, backbone) < ROUNDING
    assert network.get_layer("first") is backbone.get_layer("left").get_layer("first")
    bank = FilterBank(backbone, "rcm", images)
    assert set(bank.convolutions) == {"stem", "first", "second", "right_first", "right_second"}
    assert unlike(graft(bank, "edge"), backbone) < ROUNDING
    assert opened(network) is network


@pytest.mark.parametrize("training", [None, False])
def test_norms_of_nested_models_move_as_in_the_plain_network(training):
    backbone = nested_backbone(training)
    branch = graft(FilterBank(backbone), "edge")
    assert unlike(branch, backbone, training=True) < ROUNDING
    ours = state(branch)
    for name, model in {"norm": "left", "right_norm": "right"}.items():
        inside = backbone.get_layer("left") if model == "left" else backbone.layers[-1].get_layer("right")
        expected = keras.ops.convert_to_numpy(inside.get_layer("norm").moving_mean)
        np.testing.assert_allclose(ours[f"{name}/moving_mean"], expected, atol=ROUNDING * np.ptp(expected))


@pytest.mark.parametrize("name", ["plain", "output_stride", "reserved name"])
def test_networks_that_were_compiled_and_trained(name):
    """With a loss of the user's own, which no copy can be compiled with."""
    x = inputs = keras.Input((SIZE, SIZE, 3))
    x = body("inner")(layers.Conv2D(8, 4, strides=4, name="output" if name == "reserved name" else "stem")(x))
    for at in range(2):
        x = layers.Conv2D(8, 3, strides=2, padding="same", name=f"stage_{at}")(x)
    network = keras.Model(inputs, x, name="mine")
    network.get_layer("inner").compile("adam", loss=lambda labels, answers: 0.0)
    network.compile("adam", loss=lambda labels, answers: keras.ops.mean(keras.ops.square(answers)))
    network.fit(np.zeros((2, SIZE, SIZE, 3)), np.zeros(2), verbose=0)
    settings = {"output_stride": 8} if name == "output_stride" else {}
    assert rc_keras.graft_report(network, **settings).bank
    model = rc_keras.build(["edge"], network, "lraspp", image_shape=(SIZE, SIZE, 3), seed=0, **settings)
    assert not model.compiled and network.compiled


def test_a_nested_model_that_is_called_twice_is_shared_once():
    image, twice = keras.Input((SIZE, SIZE, 8)), body("twice")
    backbone = keras.Model(image, twice(twice(image)))
    assert unlike(opened(backbone), backbone, shape=(SIZE, SIZE, 8)) == 0
    bank = FilterBank(backbone)
    assert set(bank.convolutions) == {"first", "second"}
    assert unlike(graft(bank, "edge"), backbone, shape=(SIZE, SIZE, 8)) < ROUNDING


def test_a_bank_that_was_saved_with_a_closed_model(tmp_path, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr("rc_keras.network.bank_network.opened", lambda network, *_: network)
        FilterBank(mixed_backbone()).save(tmp_path / "bank.safetensors")
    loaded = FilterBank.load(tmp_path / "bank.safetensors", mixed_backbone())
    assert "left" in {layer.name for layer in loaded.template.layers}
    model = rc_keras.build(TASKS[:1], mixed_backbone(), bank=tmp_path / "bank.safetensors", image_shape=(SIZE, SIZE, 3))
    assert "edge" not in model.tasks and set(model.bank.convolutions) == set(loaded.convolutions)


def mixed_backbone():
    plain = micro_backbone()
    low = plain.output["low_level"]
    return keras.Model(plain.inputs[0], {"low_level": low, "high_level": body("left")(low)}, name="mixed")


def test_a_model_with_a_nested_one(tmp_path):
    """The usual way: a published network behind a layer of one's own, with weights from a file."""

    def backbone():
        image = keras.Input((SIZE, SIZE, 3))
        pixels = layers.Rescaling(1 / 127.5, -1)(image)
        plain = micro_backbone()
        return keras.Model(image, keras.Model(plain.inputs[0], plain.output["high_level"], name="inside")(pixels))

    source = backbone()
    for variable in source.trainable_variables:
        variable.assign(np.random.default_rng(1).normal(0, 0.2, variable.shape))
    source.save_weights(tmp_path / "own.weights.h5")
    model = tiny_model(TASKS[:2], backbone=backbone(), weights=tmp_path / "own.weights.h5")
    assert {"stem_conv", "low_conv", "high_conv"} <= set(model.bank.convolutions)
    model.save_to_preset(tmp_path / "preset")
    images = tiny_data(2)[0]
    expected = model.predict(images, verbose=0)["edge"]
    loaded = rc_keras.from_preset(tmp_path / "preset")
    np.testing.assert_array_equal(loaded.predict(images, verbose=0)["edge"], expected)
    high = keras.Model(model.bank.template.inputs[0], model.bank.template.output["high_level"])
    assert unlike(high, source) < ROUNDING


# Composite layers


@keras.saving.register_keras_serializable(package="tests")
class Block(keras.Layer):
    """Attention and two dense layers, as encoders of transformers have them."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.norms = [layers.LayerNormalization(), layers.LayerNormalization()]
        self.attention = layers.MultiHeadAttention(2, width // 2, dropout=0.1, name="attention")
        self.dense = {"in": layers.Dense(2 * width, "gelu"), "out": layers.Dense(width)}

    def build(self, shape):
        for layer in (*self.norms, self.dense["in"]):
            layer.build(shape)
        self.attention.build(shape, shape)
        self.dense["out"].build((*shape[:-1], 2 * self.width))

    def call(self, x, training=None):
        y = self.norms[0](x)
        x = x + self.attention(y, y, training=training)
        return x + self.dense["out"](self.dense["in"](self.norms[1](x)))

    def get_config(self):
        return {**super().get_config(), "width": self.width}


class Scaled(Block):
    """It has a weight that is no layer's."""

    def build(self, shape):
        super().build(shape)
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x, training=None):
        return self.scale * super().call(x, training=training)


class Skipped(Block):
    """It computes something else in training."""

    def call(self, x, training=None):
        return x if training else super().call(x, training=training)


class Halved(Block):
    """It makes the same calls in training, with another number."""

    def call(self, x, training=None):
        return super().call(x, training=training) * (0.5 if training else 1.0)


class Pinned(Block):
    """One of its layers does in training what it does in inference."""

    def call(self, x, training=None):
        return super().call(x, training=False)


class FrozenNorm(layers.Layer):
    """It knows nothing of training, and its norm stays in inference."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.dense, self.norm = layers.Dense(width), layers.BatchNormalization()

    def build(self, shape):
        self.dense.build(shape)
        self.norm.build(shape)

    def call(self, x):
        return x + self.norm(self.dense(x), training=False)


class Sized(Block):
    """It asks for a size, which is another for other images."""

    def call(self, x, training=None):
        return super().call(x, training=training) / x.shape[1]


def transformer(*kinds, width=24):
    image = keras.Input((SIZE, SIZE, 3))
    low = layers.Conv2D(8, 4, strides=4, name="stem")(layers.Rescaling(1 / 64, -2.0, name="rescale")(image))
    x = layers.Reshape((-1, width), name="tokens")(layers.Conv2D(width, 2, strides=2, name="patches")(low))
    for at, kind in enumerate(kinds):
        x = kind(width, name=f"block_{at}")(x)
    high = layers.Reshape((SIZE // 8, SIZE // 8, width), name="map")(x)
    return keras.Model(image, {"low_level": low, "high_level": high}, name="transformer")


def projections(at):
    parts = ("attention_query", "attention_key", "attention_value", "attention_attention_output", "dense", "dense_1")
    return {f"block_{at}_{part}" for part in parts}


def test_composite_layers_are_opened_where_pointwise_kernels_are_shared():
    backbone = transformer(Block, Block)
    bank = FilterBank(backbone, "rc_identity", pointwise_rank=4)
    assert set(bank.convolutions) == {"stem", "patches"} | projections(0) | projections(1)
    assert unlike(graft(bank, "edge"), backbone) < ROUNDING
    again = opened(transformer(Block, Block), composite_layers=True)  # Keras has numbered on
    assert not any(isinstance(layer, (Block, layers.MultiHeadAttention)) for layer in again.layers)
    assert projections(0) | projections(1) <= {layer.name for layer in again.layers}
    closed = FilterBank(backbone, "rc_identity")
    assert set(closed.convolutions) == {"stem", "patches"} and isinstance(closed.template.get_layer("block_0"), Block)


@pytest.mark.parametrize("kind", [Scaled, Skipped, Halved, Pinned, FrozenNorm, Sized])
def test_what_a_layer_does_besides_keeps_it_closed(kind):
    backbone = transformer(kind, Block)
    bank = FilterBank(backbone, "rc_identity", pointwise_rank=4)
    assert isinstance(bank.template.get_layer("block_0"), kind)
    assert set(bank.convolutions) == {"stem", "patches"} | projections(1)
    assert unlike(graft(bank, "edge"), backbone) < ROUNDING
    shares = {share.name: share for share in rc_keras.graft_report(backbone, pointwise_rank=4).layers}
    assert shares["block_0"].copied > 0 and shares["block_0"].how == f"{kind.__name__} is not looked into"


def test_a_model_of_composite_layers(tmp_path):
    model = tiny_model(TASKS[:2], backbone=transformer(Block), pointwise_rank=4)
    images = tiny_data(2)[0]
    expected = keras.ops.convert_to_numpy(model(images)["edge"])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(loaded(images)["edge"]), expected)
    assert projections(0) <= set(FilterBank.from_task(model, "semseg").convolutions)
    branches = [model.branch(name) for name in model.tasks]
    shared = [{layer.name: layer for layer in b.layers if isinstance(layer, BankConv2D)} for b in branches]
    assert shared[0] == shared[1] and projections(0) <= set(shared[0])
    macs = model.mac_report().tasks["edge"]
    tokens, width = (SIZE // 8) ** 2, 24
    stem = (SIZE // 4) ** 2 * 4 * 4 * 3 * 8 + tokens * 2 * 2 * 8 * width
    assert macs.convolutions == stem + tokens * 8 * width**2
    opened_only = tiny_model(TASKS[:1], backbone=transformer(Block), pointwise_rank=100)  # none shared: copies
    assert opened_only.mac_report().tasks["semseg"].convolutions == macs.convolutions


@keras.saving.register_keras_serializable(package="tests")
class Stage(layers.Layer):
    """As keras-hub's: layers are named for the block around them, and one that does nothing has a policy of dtypes."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(8, 3, strides=2, padding="same", name=f"{self.name}_conv")
        self.nothing = layers.Identity(dtype=self.dtype_policy, name=f"{self.name}_nothing")

    def build(self, input_shape):
        self.conv.build(input_shape)

    def call(self, inputs, training=None):
        return [inputs, self.nothing(self.conv(inputs), training=training)]

    def compute_output_shape(self, input_shape):
        return [input_shape, self.conv.compute_output_shape(input_shape)]


def staged(size=4 * SIZE):
    image = keras.Input((size, size, 3))
    low = layers.Conv2D(8, 4, strides=4, name="stem")(image)
    x = low
    for at in (1, 2, 3):
        _, x = Stage(name=f"stage_{at}")(x)
    return keras.Model(image, {"low_level": low, "high_level": x}, name="staged")


def test_layers_that_are_named_for_the_block_keep_their_names():
    backbone = staged()
    network = opened(backbone, True)
    assert [layer.name for layer in network.layers if layer.weights] == [
        "stem",
        *(f"stage_{n}_conv" for n in (1, 2, 3)),
    ]
    assert unlike(network, backbone, (4 * SIZE, 4 * SIZE, 3)) < ROUNDING


def test_blocks_are_opened_to_be_dilated():
    with pytest.raises(ValueError, match="layer 'stage_3': it goes from stride 16 to 32 on its own"):
        with_output_stride(staged(), 16)
    shape = (4 * SIZE, 4 * SIZE, 3)
    model = tiny_model(TASKS[:1], backbone=staged(), image_shape=shape, output_stride=16, method="rc_identity")
    assert model.bank.template.output["high_level"].shape[1:3] == (8, 8)
