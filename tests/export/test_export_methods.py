"""Every method exports, and what folds is folded."""

import keras
import pytest
from support.tiny import TASKS, tiny_model
from support.trained import pretend_training
from test_export_fold import assert_same_function, layers_of

from rc_keras.export.folding.fold import fold
from rc_keras.layers import BankConv2D, ChannelModulation, LowRankModulator, SeriesAdapter

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exporters need Keras on TensorFlow")

METHODS = (
    "series_adapter",
    "parallel_adapter",
    "batch_norm",
    "channel_modulation",
    "low_rank(2)",
    "multi_task",
    "squeeze_excite",
)


@pytest.fixture(params=METHODS)
def model(request):
    return pretend_training(tiny_model(TASKS[:2], method=request.param))


def test_litert(model, tmp_path):
    """The exporter compares with the model, and counts the kernels of the bank in the file."""
    pytest.importorskip("ai_edge_litert")
    report = model.export(tmp_path / "model.tflite", verbose=False)
    assert report.passed
    assert report.bank_kernels == report.bank_kernels_stored_once == len(model.bank.convolutions)
    shared_scales = model.bank.method.name in ("batch_norm", "channel_modulation")
    operators = report.tasks["semseg"].operators
    assert operators.get("DEPTHWISE_CONV_2D", 0) == (4 if shared_scales else 0)


def test_folding_leaves_no_norm(model):
    name = model.bank.method.name
    branch = model.branch("semseg")
    for merged in (False, True):
        folded = fold(branch, {}, merged=merged)
        assert_same_function(branch, folded)
        norms = layers_of(folded, keras.layers.BatchNormalization)
        assert len(norms) == (3 if name == "parallel_adapter" else 0)
        assert not layers_of(folded, (SeriesAdapter, LowRankModulator, ChannelModulation, BankConv2D))
    kernels = [layer.name for layer in folded.layers if layer.name in model.bank.convolutions]
    assert len(kernels) == (3 if name == "parallel_adapter" else 0) or not model.bank.convolutions


@pytest.mark.parametrize("method", ["batch_norm", "series_adapter"])
def test_biases_behind_the_bank(method, tmp_path):
    pytest.importorskip("ai_edge_litert")
    image = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 3, strides=4, padding="same", bias_initializer="normal")(image)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Conv2D(8, 3, padding="same", bias_initializer="normal", activation="relu")(x)
    model = pretend_training(tiny_model(TASKS[:2], method=method, backbone=keras.Model(image, x)))
    branch = model.branch("semseg")
    for merged in (False, True):
        folded = fold(branch, {}, merged=merged)
        assert_same_function(branch, folded)
        assert layers_of(folded, keras.layers.BatchNormalization) == []
    assert model.export(tmp_path / "model.tflite", verbose=False).bank_kernels_stored_once == 2
