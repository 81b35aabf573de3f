"""What every backbone with a name promises, and that an entry is all a new one needs."""

import hashlib
import re

import keras
import numpy as np
import pytest
from support.folders import ROOT
from support.tiny import TASKS, MicroDecoder

import rc_keras
from rc_keras.backbones import BACKBONES, Backbone, PublishedWeights
from rc_keras.zoo.recipes.recipe import describe_fields

ROUNDING = 1e-6
SIZE = 64
QUICK = ("resnet18", "resnet34", "mobilenetv2")  # to make
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in BACKBONES]


@pytest.mark.parametrize("name", NAMES)
def test_features_by_name_and_stride(name):
    for output_stride in BACKBONES[name].output_strides:
        model = rc_keras.backbones.get(name)(image_shape=(SIZE, 2 * SIZE, 3), output_stride=output_stride, seed=0)
        assert model.name == name
        assert set(model.output) == {"low_level", "high_level"}
        for feature, stride in (("low_level", 4), ("high_level", output_stride)):
            assert model.output[feature].shape[1:3] == (SIZE // stride, 2 * SIZE // stride)
        reserved = [layer.name for layer in model.layers if re.match("output$|decoder_", layer.name)]
        assert not reserved


@pytest.mark.parametrize("name", BACKBONES)
def test_published_weights_have_a_source_and_a_licence(name):
    weights = BACKBONES[name].weights
    assert BACKBONES[name].image_size % 32 == 0
    assert BACKBONES[name].source and BACKBONES[name].preprocessing
    if weights is not None:
        assert weights.licence in ("Apache-2.0", "BSD-3-Clause", "MIT")
        assert 0.5 < weights.top_1 < 1
    if isinstance(weights, PublishedWeights):
        assert re.fullmatch(r"https://\S+\.(pth|safetensors|npz|weights\.h5)", weights.url)
        assert re.fullmatch("[0-9a-f]{8,64}", weights.sha256_prefix)
        first = BACKBONES[name](image_shape=(1, 1, 3)).layers[1]
        for deviations in (0.0, 1.0):
            pixel = 255 * (np.array(weights.mean) + deviations * np.array(weights.std))
            pixels = pixel.astype("float32").reshape(1, 1, 1, 3)
            np.testing.assert_allclose(first(pixels), np.full((1, 1, 1, 3), deviations), atol=ROUNDING)


@pytest.mark.parametrize("name", NAMES)
def test_most_of_it_is_shared(name):
    report = rc_keras.graft_report(name, pointwise_rank=8)
    told = BACKBONES[name].bank_share
    assert told <= report.shared < told + 0.01


@pytest.mark.parametrize("name", BACKBONES)
def test_the_readme_names_it(name):
    (paragraph,) = re.findall(r"\*\*Backbones\.\*\*.*?\n\n", (ROOT / "README.md").read_text(), re.DOTALL)
    assert f"`{name}`" in paragraph


@pytest.mark.parametrize("name", BACKBONES)
def test_commands_name_it(name):
    assert re.search(rf"\b{name}\b", describe_fields()["backbone"])
    assert re.search(rf"\b{name}\b", (ROOT / "export" / "__main__.py").read_text())


def striding(image_shape=(None, None, 3), output_stride=16, classes=None, seed=None, name="striding"):
    """Two convolutions that stride."""
    image = keras.Input(image_shape, name="image")
    x = keras.layers.Rescaling(1 / 255, name="preprocessing")(image)
    low = keras.layers.Conv2D(8, 4, 4, name="low", kernel_initializer=keras.initializers.HeNormal(seed=seed))(x)
    stride = output_stride // 4
    kernel = keras.initializers.HeNormal(seed=seed)
    high = keras.layers.Conv2D(12, stride, stride, name="high", kernel_initializer=kernel)(low)
    if classes is None:
        return keras.Model(image, {"low_level": low, "high_level": high}, name=name)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(high)
    return keras.Model(image, keras.layers.Dense(classes, name="fc")(pooled), name=name)


def test_a_new_backbone_has_a_name_and_loads_its_published_weights(monkeypatch, tmp_path):
    trained = striding(seed=1, classes=3)
    file = tmp_path / "striding.npz"
    np.savez(file, **{w.path: keras.ops.convert_to_numpy(w) for w in trained.weights})
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    weights = PublishedWeights("https://host/striding.npz", digest[:8], "MIT", (0.0,) * 3, (1.0,) * 3, 0.6)
    monkeypatch.setattr("keras.utils.get_file", lambda origin, **kwargs: {weights.url: str(file)}[origin])
    monkeypatch.setitem(BACKBONES, "striding", Backbone(striding, weights, output_strides=(8, 16)))
    model = rc_keras.build(
        TASKS[:1], "striding", MicroDecoder(), image_shape=(32, 32, 3), weights="imagenet", method="rc_identity", seed=0
    )
    assert list(model.bank.convolutions) == ["low", "high"]
    expected = keras.ops.convert_to_numpy(trained.get_layer("high").kernel)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model.bank.convolutions["high"].kernel), expected)
    with pytest.raises(ValueError, match="'striding'.*Did you mean 'striding'"):
        rc_keras.build(TASKS[:1], "stridding")
