"""Folding: the same function with fewer operations, and an untouched bank."""

import keras
import numpy as np
import pytest
from support.tiny import tiny_backbone, tiny_decoder
from support.trained import pretend_training

import rc_keras
from rc_keras.export.folding.fold import fold
from rc_keras.layers import BankConv2D, Modulator

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exporters need Keras on TensorFlow")

TOLERANCE = 1e-5  # of the largest output: float32 arithmetic in another order


def layers_of(model, kind):
    return [layer.name for layer in model.layers if isinstance(layer, kind)]


def assert_same_function(branch, folded, tolerance=TOLERANCE):
    shape = [size or 48 for size in branch.inputs[0].shape[1:]]
    images = np.random.default_rng(0).uniform(0.0, 255.0, (2, *shape)).astype("float32")
    expected = keras.ops.convert_to_numpy(branch(images, training=False))
    received = keras.ops.convert_to_numpy(folded(images, training=False))
    assert np.ptp(expected) > 1e-2
    np.testing.assert_allclose(received, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def model_of(backbone, tasks=("semseg",), **arguments):
    return pretend_training(rc_keras.build(list(tasks), backbone=backbone, decoder=tiny_decoder(), seed=0, **arguments))


@pytest.mark.parametrize("method", ["rcm", "rc", "rc_identity", "single_task"])
def test_a_folded_branch_computes_the_same_without_norms(method):
    branch = model_of(tiny_backbone(), method=method, image_shape=(32, 32, 3)).branch("semseg")
    folded = fold(branch, {})
    assert_same_function(branch, folded)
    assert len(layers_of(branch, keras.layers.BatchNormalization)) == 21
    assert layers_of(folded, keras.layers.BatchNormalization) == []
    assert layers_of(folded, (Modulator, BankConv2D)) == []


def test_free_sizes_stay_free():
    branch = model_of(tiny_backbone(), image_shape=(None, None, 3)).branch("semseg")
    folded = fold(branch, {})
    assert folded.inputs[0].shape == (None, None, None, 3)
    assert_same_function(branch, folded)


def test_folding_leaves_model_and_bank_as_they_are():
    model = model_of(tiny_backbone(), ("semseg", "edge"), image_shape=(32, 32, 3))
    before = [keras.ops.convert_to_numpy(variable) for variable in model.variables]
    bank = {}
    folded = [fold(model.branch(name), bank) for name in model.tasks]
    assert bank.keys() == model.bank.convolutions.keys()
    for name, layer in model.bank.convolutions.items():
        assert folded[0].get_layer(name) is folded[1].get_layer(name) is bank[name]
        np.testing.assert_array_equal(bank[name].kernel, layer.kernel)
    for value, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(value, variable)


def test_an_application_with_depthwise_convolutions_folds():
    backbone = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(64, 64, 3), alpha=0.35)
    preprocess = keras.applications.mobilenet_v2.preprocess_input
    branch = model_of(backbone, image_shape=(64, 64, 3), preprocess=preprocess).branch("semseg")
    folded = fold(branch, {})
    assert_same_function(branch, folded)
    assert layers_of(folded, keras.layers.BatchNormalization) == []


def test_norms_that_cannot_fold_stay():
    layers = keras.layers
    image = keras.Input((32, 32, 3))
    x = layers.Rescaling(1 / 127.5, -1.0)(image)
    x = layers.BatchNormalization(name="on_the_input")(x)
    x = layers.Conv2D(12, 3, strides=2, padding="same", name="twice_used")(x)
    y = layers.BatchNormalization(name="beside_another_use")(x)
    x = layers.Add()([x, y])
    x = layers.Conv2D(16, 1, strides=2, activation="relu", name="activated")(x)
    x = layers.BatchNormalization(name="behind_an_activation")(x)
    x = layers.Conv2D(16, 3, padding="same")(x)
    x = layers.BatchNormalization(name="folds")(x)
    x = layers.BatchNormalization(name="behind_a_norm")(x)
    shared = layers.Conv2D(17, 1, use_bias=True, name="called_twice")
    x = layers.Add()([layers.BatchNormalization(name="first")(shared(x)), shared(layers.ReLU()(x))])
    branch = model_of(keras.Model(image, x), image_shape=(32, 32, 3)).branch("semseg")
    folded = fold(branch, {})
    assert_same_function(branch, folded)
    left = {name.removeprefix("semseg__") for name in layers_of(folded, keras.layers.BatchNormalization)}
    stay = {"on_the_input", "beside_another_use", "behind_an_activation", "behind_a_norm", "first"}
    assert left == stay


def test_every_linear_layer_takes_in_a_norm():
    layers = keras.layers
    image = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, strides=4, padding="same", use_bias=True)(layers.Rescaling(1 / 127.5, -1.0)(image))
    x = layers.BatchNormalization()(x)
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x)
    x = layers.BatchNormalization(scale=False)(x)
    x = layers.Dense(24, activation=None)(x)
    x = layers.BatchNormalization(center=False, epsilon=0.1)(x)
    x = layers.Conv2D(24, 1, groups=2)(x)
    x = layers.BatchNormalization(scale=False, center=False)(x)
    branch = model_of(keras.Model(image, x), image_shape=(32, 32, 3)).branch("semseg")
    folded = fold(branch, {})
    assert_same_function(branch, folded)
    assert layers_of(folded, keras.layers.BatchNormalization) == []


def test_layers_that_are_called_twice_take_in_norms_that_are():
    layers = keras.layers
    image = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, strides=4, padding="same", activation="relu")(layers.Rescaling(1 / 127.5, -1.0)(image))
    convolution, norm = layers.Conv2D(8, 3, padding="same"), layers.BatchNormalization(name="folds")
    depthwise, own = layers.DepthwiseConv2D(3, padding="same"), layers.BatchNormalization(name="folds_too")
    uneven, alone = layers.DepthwiseConv2D(3, padding="same"), layers.BatchNormalization(name="of_one_call")
    for _ in range(2):
        x = layers.Add()([layers.ReLU()(norm(convolution(x))), x])
        x = layers.Add()([layers.ReLU()(own(depthwise(x))), x])
    x = layers.Add()([alone(uneven(x)), uneven(layers.ReLU()(x))])
    branch = model_of(keras.Model(image, x), image_shape=(32, 32, 3)).branch("semseg")
    for merged in (False, True):
        folded = fold(branch, {}, merged=merged)
        assert_same_function(branch, folded)
        left = layers_of(folded, keras.layers.BatchNormalization)
        assert [name.removeprefix("semseg__") for name in left] == ["of_one_call"]


def test_a_bank_convolution_with_groups_is_never_merged():
    """Its product with a modulator, which mixes all channels, is no convolution with groups."""
    layers = keras.layers
    image = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, strides=4, padding="same")(layers.Rescaling(1 / 127.5, -1.0)(image))
    x = layers.BatchNormalization()(layers.Conv2D(12, 3, padding="same", groups=4, name="grouped")(x))
    branch = model_of(keras.Model(image, x), image_shape=(32, 32, 3)).branch("semseg")
    assert layers_of(branch, BankConv2D)[-1] == "grouped"
    for merged in (False, True):
        folded = fold(branch, {}, merged=merged)
        assert_same_function(branch, folded)
        assert [layer.groups for layer in folded.layers if layer.name == "grouped"] == [4]


def test_mixed_precision_folds_to_float32():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        branch = model_of(tiny_backbone(), image_shape=(32, 32, 3)).branch("semseg")
    finally:
        keras.config.set_dtype_policy(policy)
    folded = fold(branch, {})
    assert {layer.compute_dtype for layer in folded.layers} == {"float32"}
    assert_same_function(branch, folded, tolerance=0.05)
