"""Networks of `keras.applications` by name compute what those compute, behind their own preprocessing."""

import keras
import numpy as np
import pytest
from support.tiny import TASKS, MicroDecoder, randomize_norms

import rc_keras
from rc_keras.backbones import BACKBONES, KerasWeights
from rc_keras.backbones.keras_networks import keras_network, own_names
from rc_keras.pretrained import load_weights

OUTPUT_RANGE = 1e-5  # of the range of the output: float32 in another order
SIZE = 64
MODULES = {
    "convnext_tiny": keras.applications.convnext,
    "efficientnetv2_b0": keras.applications.efficientnet_v2,
    "mobilenetv2": keras.applications.mobilenet_v2,
    "mobilenetv3_large": keras.applications.mobilenet_v3,
    "resnet50": keras.applications.resnet,
}
NETWORKS = {name: entry.weights.network for name, entry in BACKBONES.items() if isinstance(entry.weights, KerasWeights)}
NAMES = [name if name == "mobilenetv2" else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]
DOWNLOADS = "keras.src.utils.file_utils.get_file"  # what `keras.applications` calls


def plain(name, seed=0):
    keras.utils.set_random_seed(seed)
    network = getattr(keras.applications, NETWORKS[name])(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3))
    randomize_norms(network, seed)
    return network


def pixels():
    return np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3)).astype("float32")


def answer(network, images):
    return keras.tree.map_structure(keras.ops.convert_to_numpy, network(images, training=False))


def assert_close(received, expected):
    np.testing.assert_allclose(received, expected, rtol=0, atol=OUTPUT_RANGE * np.ptp(expected))


def test_every_network_of_keras_is_tested():
    assert MODULES.keys() == NETWORKS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_model_computes_what_the_network_of_keras_computes_and_comes_back(name, tmp_path, monkeypatch):
    """The weights go the way of downloaded ones, from a file of the same layout."""
    network, published = plain(name), tmp_path / "published.weights.h5"
    network.save_weights(published)
    fetched = []
    monkeypatch.setattr(DOWNLOADS, lambda file_name, *args, **kwargs: fetched.append(file_name) or str(published))
    model = rc_keras.build(
        TASKS[:1], name, MicroDecoder(), 32, (SIZE, SIZE, 3), weights="imagenet", pointwise_rank=8, seed=0
    )
    assert len(fetched) == 1 and fetched[0].endswith("h5")
    expected = answer(network, MODULES[name].preprocess_input(pixels()))
    assert_close(answer(model.bank.template, pixels())["high_level"], expected)

    model.save_to_preset(tmp_path / "preset")
    loaded = rc_keras.from_preset(tmp_path / "preset")
    before, after = (answer(each, pixels())["semseg"] for each in (model, loaded))
    np.testing.assert_array_equal(after, before)


def weights_by_name(encoder):
    return {layer.name: layer.get_weights() for layer in encoder.layers if layer.weights}


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_drawn_by_name_whatever_the_output_stride(name):
    first, again, other = (
        weights_by_name(BACKBONES[name](image_shape=(SIZE, SIZE, 3), output_stride=stride, seed=seed))
        for stride, seed in ((16, 0), (32, 0), (16, 1))
    )
    keras.tree.map_structure(np.testing.assert_array_equal, first, again)
    kernels = {layer for layer, weights in first.items() if max(w.ndim for w in weights) > 1}
    same = {layer for layer in kernels if all(map(np.array_equal, first[layer], other[layer]))}
    assert kernels and not same


def test_a_classifier_on_top():
    network = rc_keras.backbones.mobilenetv2((SIZE, SIZE, 3), classes=7, seed=0)
    assert network.output.shape == (None, 7)
    encoder = rc_keras.backbones.mobilenetv2((SIZE, SIZE, 3), seed=0)
    maps = answer(encoder, pixels())["high_level"]
    kernel, bias = network.get_layer("fc").get_weights()
    assert_close(answer(network, pixels()), maps.mean((1, 2)) @ kernel + bias)


@pytest.mark.parametrize("name", ["mobilenetv2", pytest.param("convnext_tiny", marks=pytest.mark.slow)])
def test_a_file_of_the_plain_network(name, tmp_path):
    """In ConvNeXt's there are models within the model, whose layers are the encoder's own."""
    network = plain(name)
    if name == "convnext_tiny":  # Keras names its last norm by number
        *_, norm = (layer for layer in network.layers if layer.weights)
        network = renamed(network, {norm.name: "layer_normalization"})
    network.save_weights(tmp_path / "plain.weights.h5")
    encoder = BACKBONES[name](image_shape=(SIZE, SIZE, 3), output_stride=32)
    load_weights(encoder, tmp_path / "plain.weights.h5")
    expected = answer(network, MODULES[name].preprocess_input(pixels()))
    assert_close(answer(encoder, pixels())["high_level"], expected)


def renamed(network, names):
    def clone(layer):
        return type(layer).from_config({**layer.get_config(), "name": names.get(layer.name, layer.name)})

    copy = keras.models.clone_model(network, clone_function=clone)
    copy.set_weights(network.get_weights())
    return copy


def test_without_a_connection_the_error_tells_where_a_file_can_lie(monkeypatch):
    def fail(*args, **kwargs):
        raise Exception("URL fetch failure on https://host/file.h5: None -- no connection")

    monkeypatch.setattr(DOWNLOADS, fail)
    with pytest.raises(OSError, match=r"MobileNetV2 could not be fetched \(URL .*https://host/file.h5.*KERAS_HOME"):
        rc_keras.build(TASKS[:1], "mobilenetv2", image_shape=(SIZE, SIZE, 3), weights="imagenet")


@pytest.mark.parametrize("shape", [(31, 64, 3), (64, 64, 1), (64, 64)])
def test_images_that_it_cannot_take(shape):
    with pytest.raises(ValueError, match=r"`image_shape` must be \(height, width, (3\), .* at least 32|channels)"):
        rc_keras.build(TASKS[:1], "mobilenetv2", image_shape=shape)
    with pytest.raises(ValueError, match=r"`image_shape` must be .* at least 32"):
        rc_keras.backbones.mobilenetv2(shape)


def test_convnext_says_why_it_is_not_dilated_further():
    with pytest.raises(ValueError, match="output_stride=8 .*'convnext_tiny_downsampling_conv_2': its kernel is even"):
        rc_keras.backbones.convnext_tiny((SIZE, SIZE, 3), output_stride=8)
    with pytest.raises(ValueError, match=r"`output_stride` must be one of \[8, 16, 32\]"):
        rc_keras.backbones.convnext_tiny((SIZE, SIZE, 3), output_stride=4)


def test_unknown_names_are_listed():
    with pytest.raises(ValueError, match="`network` must be one of .*'ResNet50'.*Received: network='resnet50'"):
        keras_network("resnet50", "conv3_block1_1_conv")
    with pytest.raises(ValueError, match="`next_stage` must be one of .*Received: next_stage='no_such_layer'"):
        keras_network("MobileNetV2", "no_such_layer", image_shape=(SIZE, SIZE, 3))


def test_layers_that_keras_numbers_on_through_all_models_have_names_of_their_own():
    def network():
        image = keras.Input((8, 8, 3))
        x = keras.layers.LayerNormalization()(keras.layers.Conv2D(4, 1, name="conv_2")(image))
        return keras.Model(image, keras.layers.LayerNormalization()(x) + x)

    for each in (network(), network()):
        names = list(own_names(each).values())
        assert sorted(names) == ["add", "conv_2", "input_layer", "layer_normalization", "layer_normalization_1"]
