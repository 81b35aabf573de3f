"""Dilated convolutions tap by tap, against the whole ones."""

import dataclasses

import keras
import numpy as np
import pytest
from support.tiny import TASKS, tiny_backbone, tiny_model
from support.trained import pretend_training

import rc_keras
from rc_keras import FilterBank
from rc_keras.export.folding import padding_taps
from rc_keras.export.folding.direct_conv2d import DirectConv2D
from rc_keras.export.folding.folded_network import FoldedNetwork
from rc_keras.export.formats.tflite.exporter import LiteRT
from rc_keras.export.formats.tflite.file import TFLiteFile

FLOAT32 = 1e-6  # of the range: the same products in another order


def folded(models, bank=()):
    """A network of models, as folding leaves it, as far as it matters here."""
    layers = {layer.name: layer for model in models.values() for layer in model.layers if layer.name in bank}
    kernels = {name: np.array(layer.kernel) for name, layer in layers.items()}
    rest = {"precision": "float32", "image_shape": None, "batch_size": None, "calibration": {}, "description": {}}
    return FoldedNetwork(models=models, bank=layers, kernels=kernels, verbose=False, joint=False, template={}, **rest)


def convolution(size=(12, 9), name="dilated", **settings):
    image = keras.Input((*size, 5), name="image")
    settings = {"padding": "same", "dilation_rate": (6, 6), **settings}
    layer = DirectConv2D(7, **{"kernel_size": (3, 3), **settings}, name=name)
    return keras.Model(image, layer(image), name="task")


def names(network):
    return {layer.name for model in network.models.values() for layer in model.layers}


@pytest.mark.parametrize("size", [(12, 9), (13, 4), (6, 7), (1, 1), (40, 13)])
@pytest.mark.parametrize("rate", [(6, 6), (4, 2), (12, 5)])
@pytest.mark.parametrize("settings", [{}, {"use_bias": False}, {"activation": "relu"}, {"kernel_size": (5, 3)}])
def test_the_sum_is_the_same(size, rate, settings, monkeypatch):
    monkeypatch.setattr("rc_keras.base.convolution._WORTH_LEAVING_OUT", 1.0)
    keras.utils.set_random_seed(0)
    model = convolution(size, dilation_rate=rate, **settings)
    if settings.get("use_bias", True):
        model.layers[-1].bias.assign(np.linspace(-1, 1, 7))
    split = padding_taps.without_padding_taps(folded({"task": model})).models["task"]
    assert not any(layer.name == "dilated" for layer in split.layers)
    x = np.random.default_rng(0).normal(size=(2, *size, 5)).astype("float32")
    expected = model(x).numpy()
    np.testing.assert_allclose(split(x).numpy(), expected, rtol=0, atol=FLOAT32 * np.ptp(expected))


def test_taps_that_meet_nothing_are_gone():
    network = padding_taps.without_padding_taps(folded({"task": convolution((6, 12))}))
    assert {name for name in names(network) if name[-2:].isdigit()} == {f"dilated_tap1{column}" for column in range(3)}
    products = [layer for layer in network.models["task"].layers if isinstance(layer, DirectConv2D)]
    assert sorted(layer.output.shape[1:3] for layer in products) == [(6, 6), (6, 6), (6, 12)]


@pytest.mark.parametrize(
    "settings",
    [
        {"dilation_rate": (1, 1)},
        {"padding": "valid", "dilation_rate": (2, 2)},
        {"kernel_size": (2, 2)},
        {"size": (None, 9)},
        {"size": (40, 40)},  # nine tenths of the products are with pixels
        {"dilation_rate": (1, 1), "strides": (2, 2)},
    ],
)
def test_what_stays_whole(settings):
    network = folded({"task": convolution(**settings)})
    assert names(padding_taps.without_padding_taps(network)) == names(network)


def test_the_bank_of_the_encoder_stays_whole():
    network = folded({"task": convolution()}, bank=["dilated"])
    result = padding_taps.without_padding_taps(network)
    assert names(result) == names(network) and list(result.kernels) == ["dilated"]


def test_shared_kernels_stay_shared():
    shared = DirectConv2D(5, 3, padding="same", dilation_rate=6, use_bias=False, name="decoder_shared")
    models = {}
    for task in ("a", "b"):
        image = keras.Input((8, 8, 5), name="image")
        models[task] = keras.Model(image, DirectConv2D(3, 1, name=f"{task}__head")(shared(image)), name=task)
    network = padding_taps.without_padding_taps(folded(models, bank=["decoder_shared"]))
    taps = {f"decoder_shared_tap{row}{column}" for row in range(3) for column in range(3)}
    assert network.bank.keys() == network.kernels.keys() == taps
    for name, layer in network.bank.items():
        assert all(model.get_layer(name) is layer for model in network.models.values())
        np.testing.assert_array_equal(network.kernels[name], shared.kernel[int(name[-2]), int(name[-1])][None, None])


@pytest.mark.parametrize("precision", ["float32", "float16", "dynamic_int8", "int8"])
def test_integers_stay_whole(precision):
    network = dataclasses.replace(folded({"task": convolution()}), precision=precision)
    assert (LiteRT().prepare(network) is network) == ("int8" in precision)


@pytest.mark.slow
@pytest.mark.parametrize("quantize", [None, "float16"])
def test_a_file_with_a_bank_of_decoders(quantize, tmp_path):
    decoder = rc_keras.decoders.DeepLabV3Plus(width=24, low_level_width=8, rates=(1, 3, 6))
    settings = {"backbone": tiny_backbone(size=64), "image_shape": (64, 64, 3)}
    donor = tiny_model(TASKS[:1], decoder=decoder, **settings)
    bank = FilterBank.from_task(donor, TASKS[0].name)
    model = pretend_training(tiny_model(TASKS[:2], decoder=None, bank=bank, **settings))
    report = model.export(tmp_path / "model.tflite", quantize=quantize, joint=True, verbose=False)
    assert report.bank_kernels_stored_once == report.bank_kernels > 0
    operators = TFLiteFile(tmp_path / "model.tflite").operators
    strided = 4  # layers that pad alike on both sides
    assert all(
        operators[task.name]["PAD"] == strided + 8 for task in TASKS[:2]
    )  # rate 6 meets the map in one tap alone
