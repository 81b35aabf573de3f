"""Shared pointwise kernels in exported files: stored once, and what a task adds as two small matrices."""

import keras
import numpy as np
import pytest
from support.mobile import POINTWISE, mobile_backbone
from support.tiny import SIZE, TASKS, tiny_model
from support.trained import pretend_training
from test_export_fold import assert_same_function, layers_of

from rc_keras.export.folding.fold import fold
from rc_keras.layers import BankConv2D, PointwiseModulator

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exporters need Keras on TensorFlow")

PACKAGES = {"litert": "ai_edge_litert", "onnx": "onnxruntime", "tf_saved_model": "tensorflow"}
RANK = 2


@pytest.fixture(scope="module")
def model():
    backbone = mobile_backbone()
    return pretend_training(tiny_model(TASKS[:2], backbone=backbone, method="rc_identity", pointwise_rank=RANK))


def test_folded(model):
    branch, bank = model.branch("semseg"), {}
    folded = fold(branch, bank)
    assert_same_function(branch, folded)
    assert not layers_of(folded, (keras.layers.BatchNormalization, BankConv2D, PointwiseModulator))
    assert set(bank) == POINTWISE | {"stem"}
    for name in POINTWISE:
        channels = bank[name].filters
        sizes = {layer.name.rpartition("_")[2]: layer for layer in folded.layers if f"__{name}_pointwise" in layer.name}
        assert sizes["down"].kernel.shape == (1, 1, channels, RANK) and sizes["up"].kernel.shape[2:] == (RANK, channels)
        assert ("scale" in sizes) == (name in ("expand", "project"))  # those with a norm behind


def test_a_matrix_that_is_no_larger_is_one(model):
    branch = tiny_model(TASKS[:1], backbone=mobile_backbone(), method="rc_identity", pointwise_rank=4).branch("semseg")
    folded = fold(branch, {})
    names = {layer.name for layer in folded.layers}
    assert "semseg__squeeze_pointwise_modulator_up" not in names  # 8 x 8 numbers, or 2 x 4 x 8 and a scale
    assert "semseg__mlp_in_pointwise_modulator_up" in names
    assert_same_function(branch, folded)


def test_merged(model):
    branch = model.branch("semseg")
    folded = fold(branch, {}, merged=True)
    assert_same_function(branch, folded)
    assert not layers_of(folded, (keras.layers.BatchNormalization, BankConv2D, PointwiseModulator))
    assert not {layer.name for layer in folded.layers} & POINTWISE


@pytest.mark.parametrize("format", PACKAGES)
def test_exported(model, format, tmp_path):
    """The exporter compares with the model, and counts the kernels of the bank in the file."""
    pytest.importorskip(PACKAGES[format])
    path = tmp_path / ("model.tflite" if format == "litert" else "model")
    report = model.export(path, format=format, verbose=False)
    assert report.passed
    assert report.bank_kernels == report.bank_kernels_stored_once == len(POINTWISE) + 1


@pytest.mark.slow
@pytest.mark.parametrize("quantize", ["float16", "int8"])
@pytest.mark.parametrize("format", ["litert", "onnx"])
def test_exported_in_other_precisions(model, format, quantize, tmp_path):
    pytest.importorskip(PACKAGES[format])
    path = tmp_path / ("model.tflite" if format == "litert" else "model")
    images = np.random.default_rng(0).integers(0, 256, (8, *model.image_shape)).astype("uint8")
    arguments = {"representative_data": images} if quantize == "int8" else {}
    report = model.export(path, format=format, quantize=quantize, verbose=False, **arguments)
    assert report.passed and report.bank_kernels == report.bank_kernels_stored_once == len(POINTWISE) + 1


@pytest.mark.slow
@pytest.mark.parametrize("format", PACKAGES)
def test_all_tasks_in_one_call(model, format, tmp_path):
    pytest.importorskip(PACKAGES[format])
    path = tmp_path / ("model.tflite" if format == "litert" else "model")
    report = model.export(path, format=format, verbose=False, joint=True)
    assert report.passed and report.joint is not None


@pytest.mark.slow
@pytest.mark.parametrize("format", PACKAGES)
def test_attention_and_what_layers_hold_as_constants(format, tmp_path):
    """Multi-head attention divides by a constant, and `Normalization` has its mean and variance as such."""
    pytest.importorskip(PACKAGES[format])
    layers, image = keras.layers, keras.Input((SIZE, SIZE, 3))
    normalized = layers.Normalization(mean=[100.0, 120.0, 140.0], variance=[60.0**2, 50.0**2, 40.0**2])(image)
    low = layers.Conv2D(8, 4, strides=4, name="stem")(normalized)
    tokens = layers.Reshape((-1, 24))(layers.Conv2D(24, 2, strides=2, name="patches")(low))
    tokens = layers.Add()([tokens, layers.MultiHeadAttention(2, 12, name="attention")(tokens, tokens)])
    high = layers.Reshape((SIZE // 8, SIZE // 8, 24))(layers.Dense(24, "gelu", name="dense")(tokens))
    backbone = keras.Model(image, {"low_level": low, "high_level": high})
    model = pretend_training(tiny_model(TASKS[:2], backbone=backbone, pointwise_rank=RANK))
    path = tmp_path / ("model.tflite" if format == "litert" else "model")
    report = model.export(path, format=format, verbose=False)
    assert report.passed and report.bank_kernels == report.bank_kernels_stored_once == 7
