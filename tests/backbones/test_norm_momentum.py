"""Moving averages follow a training: in encoders by name, and in networks of others where one asks for it."""

import keras
import numpy as np
import pytest

import rc_keras
from rc_keras.backbones import BACKBONES, with_norm_momentum
from rc_keras.base.keras_internals import inner_layers


def momenta(network):
    return {layer.momentum for layer in inner_layers(network) if isinstance(layer, keras.layers.BatchNormalization)}


def nested(momentum):
    image = keras.Input((16, 16, 3), name="image")
    inner = keras.Sequential(
        [keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(momentum=momentum)], name="inner"
    )
    x = keras.layers.BatchNormalization(momentum=momentum, scale=False, name="norm")(inner(image))
    return keras.Model(image, {"low_level": x, "high_level": keras.layers.ReLU(name="relu")(x)}, name="nested")


@pytest.mark.parametrize(
    "name", [name if "resnet" in name else pytest.param(name, marks=pytest.mark.slow) for name in BACKBONES]
)
def test_encoders_by_name(name):
    assert momenta(rc_keras.backbones.get(name)((64, 64, 3))) <= {0.9}


def test_answers_layers_and_weights_stay():
    network = nested(0.999)
    random = np.random.default_rng(0)
    for norm in (network.get_layer("norm"), network.get_layer("inner").layers[-1]):
        norm.set_weights([random.uniform(0.5, 1.5, w.shape) for w in norm.weights])
    changed = with_norm_momentum(network)
    assert (momenta(changed), momenta(network)) == ({0.9}, {0.999})
    assert [layer.name for layer in changed.layers] == [layer.name for layer in network.layers]
    assert changed.name == network.name and not changed.get_layer("norm").scale
    images = np.random.default_rng(1).uniform(0, 1, (2, 16, 16, 3)).astype("float32")
    expected, received = network(images, training=False), changed(images, training=False)
    for feature, values in expected.items():
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(received[feature]), keras.ops.convert_to_numpy(values))
    changed(images, training=True)
    moving, kept = (net.get_layer("norm").moving_mean for net in (changed, network))
    assert np.ptp(keras.ops.convert_to_numpy(moving - kept)) > 0.01


def test_layers_are_of_its_own():
    """So that it can be tapped by its layers, and trained apart."""
    network = nested(0.999)
    network.compile("sgd", loss=lambda labels, answers: 0.0)  # which does not come back from a configuration
    network.get_layer("relu").trainable = False
    changed = with_norm_momentum(network)
    tapped = keras.Model(changed.input, changed.get_layer("norm").output)
    assert tapped.get_layer("norm") is changed.get_layer("norm")
    kernel = network.get_layer("inner").layers[0].kernel
    before = keras.ops.convert_to_numpy(kernel)
    changed.set_weights([weight + 1.0 for weight in changed.get_weights()])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(kernel), before)
    assert not changed.get_layer("relu").trainable


@pytest.mark.parametrize("momentum", [-0.1, 1.5, "0.9", True, None])
def test_momentum_is_checked(momentum):
    with pytest.raises(ValueError, match="`momentum` must be a number in 0..1. Received: momentum="):
        with_norm_momentum(nested(0.9), momentum)


def test_a_network_of_its_own_class_is_refused():
    class Network(keras.Model):
        pass

    with pytest.raises(ValueError, match="`network` must be a functional keras.Model"):
        with_norm_momentum(Network())
