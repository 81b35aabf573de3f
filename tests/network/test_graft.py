"""Grafting keeps the function, shares the bank and copies the rest."""

import keras
import numpy as np
import pytest
from support.photos import load_photos
from support.tiny import SIZE, TASKS, assert_same_bits, differs, state, tiny_backbone, tiny_data, tiny_model

import rc_keras
from rc_keras import FilterBank, graft
from rc_keras.layers import BankConv2D, BatchNormalization, Bias, Modulator, ParallelAdapter, SeriesAdapter
from rc_keras.methods import METHODS, get_method
from rc_keras.network.template import is_shared

OUTPUT_RANGE = 1e-4  # of the range of the output
RANDOM = ("rc", "rc_nff")  # random rotations: the paper's plain RC


def outputs_of(model, images):
    return keras.tree.map_structure(np.asarray, model.predict(images, verbose=0))


def relative_difference(left, right):
    differences = [
        np.abs(a - b).max() / np.ptp(b)
        for a, b in zip(keras.tree.flatten(left), keras.tree.flatten(right), strict=True)
    ]
    return max(differences)


@pytest.mark.parametrize("method", METHODS)
def test_function_before_training(method):
    backbone, images = tiny_backbone(), tiny_data(4)[0]
    ri_images = images if get_method(method).response_init else None
    branch = graft(FilterBank(backbone, method, ri_images), "depth")
    difference = relative_difference(outputs_of(branch, images), outputs_of(backbone, images))
    if method in RANDOM:
        assert difference > 100 * OUTPUT_RANGE
    else:
        assert difference <= OUTPUT_RANGE


@pytest.mark.slow
def test_pretrained_classifier_is_kept_and_right(test_data):
    images, classes = load_photos(test_data, 100)
    backbone = rc_keras.backbones.resnet18((224, 224, 3), output_stride=32, classes=1000)
    rc_keras.pretrained.load_weights(backbone, test_data / "resnet18_imagenet.pth")
    plain = outputs_of(backbone, images)
    for method, response_images in (("rcm", images[:16]), ("rcm", None), ("rc_ri", None), ("rc_identity", None)):
        grafted = outputs_of(graft(FilterBank(backbone, method, response_images), "imagenet"), images)
        assert relative_difference(grafted, plain) <= OUTPUT_RANGE
        assert np.mean(grafted.argmax(-1) == classes) >= 0.70


def test_bank_layers_are_shared_and_the_rest_is_copied():
    bank = FilterBank(tiny_backbone())
    first, second = graft(bank, "first"), graft(bank, "second")
    for name, layer in bank.convolutions.items():
        assert first.get_layer(name) is layer and second.get_layer(name) is layer
    own = {id(v) for v in first.variables} & {id(v) for v in second.variables}
    assert own == {id(layer.kernel) for layer in bank.convolutions.values()}


def test_layout_is_the_papers():
    """17 banks of a ResNet-18: the stem and all 3x3 convolutions; downsampling convolutions are copied."""
    bank = FilterBank(rc_keras.backbones.resnet((2, 2, 2, 2), (8, 16, 32, 64), (64, 64, 3)))
    assert len(bank.convolutions) == 17
    assert not any("downsample" in name for name in bank.convolutions)
    branch = graft(bank, "depth")
    assert sum(isinstance(layer, Modulator) for layer in branch.layers) == 17
    assert all(layer.name.startswith("depth__") for layer in branch.layers[1:] if not isinstance(layer, BankConv2D))
    assert not any(type(layer) is keras.layers.BatchNormalization for layer in branch.layers)


@pytest.mark.parametrize(
    ("layer", "channels", "shared"),
    [
        (keras.layers.Conv2D(8, 3), 4, True),  # 8 < 36
        (keras.layers.Conv2D(36, 3), 4, False),  # 36 = 36
        (keras.layers.Conv2D(4, 1), 8, True),
        (keras.layers.Conv2D(8, 1), 8, False),
        (keras.layers.Conv2D(8, 3, groups=4), 4, True),  # 8 < 9
        (keras.layers.Conv2D(12, 3, groups=4), 4, False),
        (keras.layers.DepthwiseConv2D(3), 4, False),
        (keras.layers.Conv2DTranspose(4, 3), 8, False),
    ],
)
def test_graft_rule(layer, channels, shared):
    layer.build((None, 8, 8, channels))
    assert is_shared(layer, get_method("rcm")) == shared
    assert not is_shared(layer, get_method("single_task"))


@pytest.fixture
def policy():
    """A policy that is global while networks are grafted; the one before comes back."""
    before = keras.config.dtype_policy()
    yield "mixed_bfloat16"
    keras.config.set_dtype_policy(before)


def small_vgg():
    """Biases, fused activations, groups, a convolution that is called twice, and dropout."""
    image = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", bias_initializer="normal", name="first")(image)
    twice = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="twice")
    x = twice(twice(x))
    low = keras.layers.MaxPooling2D(4, name="pool")(x)
    x = keras.layers.Conv2D(8, 3, strides=2, groups=2, padding="same", name="grouped", activation="gelu")(low)
    x = keras.layers.Dropout(0.5, name="dropout")(x)
    return keras.Model(image, {"low_level": low, "high_level": x})


@pytest.mark.parametrize("method", ["rcm", "rc_identity", "series_adapter", "parallel_adapter"])
def test_a_users_own_network(method):
    backbone, images = small_vgg(), tiny_data(4)[0].astype("float32")
    bank = FilterBank(backbone, method, images if method == "rcm" else None)
    assert sorted(bank.convolutions) == ["first", "grouped", "twice"]
    with_biases = sum(isinstance(layer, Bias) for layer in bank.template.layers)
    assert with_biases == (0 if method.startswith("rc") else 3)  # a modulator holds its own
    branch = graft(bank, "depth")
    assert relative_difference(outputs_of(branch, images), outputs_of(backbone, images)) <= OUTPUT_RANGE
    assert sum(isinstance(layer, (Modulator, SeriesAdapter, ParallelAdapter)) for layer in branch.layers) == 3


def test_dropout_of_a_task_has_its_own_seed_whatever_the_order():
    bank = FilterBank(small_vgg())

    def seed_of(task, seed=0):
        return graft(bank, task, seed=seed).get_layer(f"{task}__dropout").seed

    seeds = {task: seed_of(task) for task in ("depth", "edge")}
    assert len({*seeds.values(), seed_of("depth", seed=1)}) == 3
    assert {task: seed_of(task) for task in ("edge", "depth")} == seeds


def test_adapters_compute_in_the_dtype_of_their_convolution(policy):
    backbone = small_vgg()
    expected = outputs_of(backbone, tiny_data(2)[0].astype("float32"))
    keras.config.set_dtype_policy(policy)
    for method in ("rc_identity", "series_adapter", "parallel_adapter", "channel_modulation", "low_rank(2)"):
        branch = graft(FilterBank(backbone, method), "depth")
        layers = [layer for layer in branch.layers if not isinstance(layer, keras.layers.InputLayer)]
        assert {layer.name for layer in layers if layer.compute_dtype != "float32"} == set()
        outputs = outputs_of(branch, tiny_data(2)[0].astype("float32"))
        assert relative_difference(outputs, expected) <= OUTPUT_RANGE


def test_everything_random_derives_from_names():
    bank = FilterBank(small_vgg(), "rc")
    graft(bank, "another", seed=1)
    once, again = graft(bank, "depth", seed=1), graft(bank, "depth", seed=1)
    assert_same_bits(state(once), state(again))
    assert differs(state(once), state(graft(bank, "other", seed=1)))
    assert differs(state(once), state(graft(bank, "depth", seed=2)))
    assert once.get_layer("depth__dropout").seed == again.get_layer("depth__dropout").seed is not None


def test_norms_keep_their_settings():
    image = keras.Input((8, 8, 3))
    norm = keras.layers.BatchNormalization(momentum=0.7, epsilon=0.1, scale=False, name="norm")
    branch = graft(FilterBank(keras.Model(image, norm(image)), "single_task"), "depth")
    copy = branch.get_layer("depth__norm")
    assert isinstance(copy, BatchNormalization)
    assert (copy.momentum, copy.epsilon, copy.scale) == (0.7, 0.1, False)


@pytest.mark.parametrize(
    "backbone",
    [
        "resnet18",
        keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)]),
        None,
    ],
)
def test_not_a_functional_model(backbone):
    with pytest.raises(ValueError, match="must be a functional keras.Model"):
        FilterBank(backbone)


def test_channels_first_is_refused():
    image = keras.Input((3, 8, 8))
    convolution = keras.layers.Conv2D(4, 3, data_format="channels_first", name="odd")
    with pytest.raises(ValueError, match="channels_last.*odd"):
        FilterBank(keras.Model(image, convolution(image)))


class Standardized(keras.layers.Conv2D):
    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, kernel - keras.ops.mean(kernel))


def test_subclasses_of_convolutions_stay_what_they_are():
    image = keras.Input((SIZE, SIZE, 3))
    x = Standardized(4, 3, name="standardized")(keras.layers.Conv2D(4, 3, name="plain")(image))
    backbone = keras.Model(image, x)
    bank = FilterBank(backbone, "rc_identity")
    assert list(bank.convolutions) == ["plain"]
    images = tiny_data(2)[0]
    assert relative_difference(outputs_of(graft(bank, "depth"), images), outputs_of(backbone, images)) <= OUTPUT_RANGE


def test_nothing_to_share():
    image = keras.Input((SIZE, SIZE, 3))
    pointwise = keras.layers.Conv2D(8, 1, name="pointwise")(image)
    with pytest.raises(ValueError, match="without any"):
        FilterBank(keras.Model(image, pointwise))


def test_models_in_models_are_entered():
    image = keras.Input((SIZE, SIZE, 3))
    inner = tiny_backbone()
    assert list(FilterBank(keras.Model(image, inner(image))).convolutions) == list(FilterBank(inner).convolutions)


@pytest.mark.parametrize("name", ["output", "decoder_head"])
def test_reserved_layer_names(name):
    image = keras.Input((SIZE, SIZE, 3))
    with pytest.raises(ValueError, match=f"Received: layer '{name}'"):
        FilterBank(keras.Model(image, keras.layers.Conv2D(4, 3, name=name)(image)))


@pytest.mark.parametrize("name", ["output", "decoder_head"])
def test_reserved_layer_names_are_changed_by_build(name):
    image = keras.Input((SIZE, SIZE, 3))
    low = keras.layers.Conv2D(4, 4, strides=4, name="low")(image)
    backbone = keras.Model(image, {"low_level": low, "high_level": keras.layers.Conv2D(4, 3, name=name)(low)})
    assert rc_keras.graft_report(backbone).layers[-1].name == f"backbone_{name}"
    model = tiny_model(TASKS[:1], backbone=backbone, method="rc_identity")
    assert list(model.bank.convolutions) == ["low", f"backbone_{name}"]
    images = tiny_data(2)[0]
    difference = relative_difference(outputs_of(model.bank.template, images), outputs_of(backbone, images))
    assert difference <= OUTPUT_RANGE
