"""Stages that stay frozen and common to all tasks, and what all tasks compute alike."""

import json

import keras
import numpy as np
import pytest
from support.tiny import (
    SIZE,
    TASKS,
    arrays,
    assert_same_bits,
    micro_backbone,
    state,
    tiny_backbone,
    tiny_data,
    tiny_decoder,
    tiny_model,
)

import rc_keras
from rc_keras import FilterBank
from rc_keras.backbones.output_stride import with_output_stride
from rc_keras.layers import BankConv2D, BatchNormalization, Frozen
from rc_keras.network.features import with_named_features
from rc_keras.network.shared_stages import shared_layers

STEM = "stem_relu"  # of the micro backbone, whose stages all have stride 4
SAME_FUNCTION = 1e-4  # of the range: the graft's own tolerance
COMPILED = 1e-5  # of the range
METHODS = ("rcm", "rc_identity", "series_adapter", "parallel_adapter", "batch_norm", "channel_modulation", "low_rank")


def resnet_model(shared_stages, tasks=TASKS[:2], **kwargs):
    arguments = {"backbone": tiny_backbone(), "decoder": tiny_decoder(), "seed": 0, **kwargs}
    return rc_keras.build(tasks, image_shape=(SIZE, SIZE, 3), shared_stages=shared_stages, **arguments)


def test_none_by_default():
    model, given = tiny_model(TASKS[:2]), tiny_model(TASKS[:2], shared_stages=0)
    assert_same_bits(state(model.branch("edge")), state(given.branch("edge")))
    assert model.bank.fingerprint == given.bank.fingerprint and model.bank.to_bytes() == given.bank.to_bytes()
    assert "shared_stages" not in model.get_config() and not model.bank.frozen_layers


@pytest.mark.parametrize("stages", [1, 2, 4])
def test_the_layers_of_a_resnet(stages):
    model = resnet_model(stages)
    shared = {layer.name for layer in model.bank.frozen_layers}
    names = {layer.name for layer in tiny_backbone().layers if layer.weights}
    assert shared == {n for n in names if not n.startswith("layer") or int(n[5]) <= stages}
    images, _ = tiny_data(2)
    plain = arrays(tiny_backbone()(images.astype("float32")))
    for name in model.tasks:
        branch = model.branch(name)
        assert all(branch.get_layer(n) is model.bank.template.get_layer(n) for n in shared)
        assert not any(f"{name}__{n}_modulator" in {layer.name for layer in branch.layers} for n in shared)
    answers = arrays(model.bank.template(images))
    for key, value in plain.items():
        np.testing.assert_allclose(answers[key], value, atol=SAME_FUNCTION * np.ptp(value))


@pytest.mark.parametrize("stages", [0, 1, 2, 4])
def test_computed_once_and_the_same_bits(stages, monkeypatch):
    model = resnet_model(stages)
    images, _ = tiny_data(2)
    apart = {name: keras.ops.convert_to_numpy(model.branch(name)(images)) for name in model.tasks}
    predicted = model.predict(images, verbose=0)  # compiled, which JAX rounds otherwise
    for name, value in apart.items():
        np.testing.assert_allclose(predicted[name], value, atol=COMPILED * np.ptp(value))
    calls = []
    for kind in (BankConv2D, Frozen):
        call = kind.call
        monkeypatch.setattr(
            kind, "call", lambda self, *a, call=call, **k: (calls.append(self.name), call(self, *a, **k))[1]
        )
    assert_same_bits(apart, arrays(model(images)))
    once = {layer.name for layer in model.bank.frozen_layers} | ({"conv1"} if stages == 0 else set())
    assert once and all(calls.count(name) == 1 for name in once)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_with_a_bank(method):
    model = tiny_model(TASKS[:2], method=method, shared_stages=STEM)
    images, _ = tiny_data(2)
    apart = {name: keras.ops.convert_to_numpy(model.branch(name)(images)) for name in model.tasks}
    answers = arrays(model(images))
    for name, value in apart.items():  # a norm alone behind a convolution may be computed with it
        np.testing.assert_allclose(answers[name], value, atol=COMPILED * np.ptp(value))
    assert [layer.name for layer in model.bank.frozen_layers] == ["stem_conv", "stem_norm"]


@pytest.mark.parametrize("method", ["single_task", "multi_task", "fine_tune", "squeeze_excite"])
def test_methods_without_a_bank(method):
    with pytest.raises(ValueError, match=f"must be 0 with method '{method}'"):
        tiny_model(method=method, shared_stages=1)


@pytest.mark.parametrize("stages", [5, -1, True, 1.5, [1], "conv9"])
def test_stages_that_are_not_there(stages):
    with pytest.raises(ValueError, match="`shared_stages` must be .*Received: shared_stages="):
        resnet_model(stages)


def test_stages_of_other_networks_by_stride():
    image = keras.Input((64, 64, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="a")(image)
    x = keras.layers.Conv2D(4, 3, strides=2, name="b")(x)  # 127 of 256
    gate = keras.layers.Dense(4, name="gate")(keras.layers.GlobalAveragePooling2D(name="pool")(x))
    x = keras.layers.Multiply(name="gated")([x, keras.layers.Reshape((1, 1, 4), name="square")(gate)])
    y = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="c")(x)
    network = keras.Model(image, keras.layers.Conv2D(4, 3, name="d", padding="same")(y))
    stem = {"a", "b", "gate", "pool", "gated", "square"}
    assert shared_layers(network, 1) == stem
    assert shared_layers(network, 2) == stem | {"c", "d"}
    assert shared_layers(network, "b") == {"a", "b"}
    with pytest.raises(ValueError, match=r"has the strides|have the strides \[2, 4, 8"):
        shared_layers(network, 3)


@pytest.fixture(scope="module")
def strides():
    """`{output stride: encoder}` of a MobileNetV2, whose blocks widen, stride and narrow."""
    network = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(64, 64, 3), alpha=0.35)
    encoder = with_named_features(network)
    return {stride: with_output_stride(encoder, stride) for stride in (32, 16, 8)}


@pytest.mark.parametrize(
    ("stage", "last"), [(1, "block_2_add"), (2, "block_5_add"), (3, "block_12_add"), (4, "out_relu")]
)
def test_stages_end_with_a_block_and_are_the_same_where_it_is_dilated(strides, stage, last):
    found = {stride: shared_layers(encoder, stage) for stride, encoder in strides.items()}
    paddings = {layer.name for layer in strides[32].layers if isinstance(layer, keras.layers.ZeroPadding2D)}
    assert (
        found[32] - paddings
        == found[16] - paddings
        == found[8] - paddings
        == shared_layers(strides[8], last) - paddings
    )


def test_a_bank_with_stages_for_another_output_stride(strides):
    bank = FilterBank(strides[32], "rc_identity", shared_stages=2)
    other = bank.for_backbone(strides[8])
    assert other.fingerprint == bank.fingerprint
    assert {layer.name for layer in other.frozen_layers} == {layer.name for layer in bank.frozen_layers}


def test_nothing_thaws_them():
    model = tiny_model(TASKS[:2], shared_stages=STEM)
    model.bank.template.trainable = True
    for layer in model.branch("edge").layers:
        layer.trainable = True
    frozen = {id(w) for layer in model.bank.frozen_layers for w in layer.weights}
    assert len(frozen) == 5
    assert not frozen & {id(v) for v in model.branch("edge").trainable_variables + model.trainable_variables}
    images, _ = tiny_data(2)
    before = arrays({v.path: v for layer in model.bank.frozen_layers for v in layer.weights})
    training = model.branch("edge")(images, training=True)
    assert_same_bits(before, arrays({v.path: v for layer in model.bank.frozen_layers for v in layer.weights}))
    assert training.shape == (2, SIZE, SIZE, 1)


def test_a_frozen_norm_is_that_of_inference():
    norm = BatchNormalization(name="norm")
    norm.build((None, 4, 4, 3))
    rng = np.random.default_rng(0)
    values = [rng.uniform(0.5, 2, 3).astype("float32") for _ in range(4)]
    frozen = Frozen(norm)
    frozen(np.zeros((1, 4, 4, 3), "float32"))
    for weight, value in zip(frozen.weights, values, strict=True):
        weight.assign(value)
    x = rng.normal(size=(2, 4, 4, 3)).astype("float32")
    gamma, beta, mean, variance = (v.astype("float64") for v in values)
    expected = gamma * (x - mean) / np.sqrt(variance + norm.epsilon) + beta
    for training in (False, True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(frozen(x, training=training)), expected, atol=1e-5)
    config = json.dumps(frozen.get_config())
    again = Frozen.from_config(json.loads(config))
    assert json.dumps(again.get_config()) == config and again.name == "norm" and not again.trainable


def test_config_file_bank_and_pack(tmp_path):
    model = tiny_model(TASKS[:2], shared_stages=STEM)
    images, _ = tiny_data(2)
    answers = arrays(model(images))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.bank.shared_stages == STEM and loaded.bank.fingerprint == model.bank.fingerprint
    assert_same_bits(answers, arrays(loaded(images)))
    model.save_to_preset(tmp_path / "preset")
    preset = rc_keras.from_preset(tmp_path / "preset")
    assert preset.bank.shared_stages == STEM
    assert_same_bits(answers, arrays(preset(images)))
    model.bank.save(tmp_path / "bank.safetensors")
    model.save_task("edge", tmp_path / "edge.rctask")
    other = tiny_model(TASKS[:1], bank=tmp_path / "bank.safetensors")
    assert other.bank.fingerprint == model.bank.fingerprint
    other.load_task(tmp_path / "edge.rctask")
    assert_same_bits({"edge": answers["edge"]}, arrays(other(images, tasks=["edge"])))
    with pytest.raises(ValueError, match="must be made with shared_stages=0. Received: shared_stages='stem_relu'"):
        tiny_model(TASKS[:1], bank=tmp_path / "bank.safetensors", shared_stages=0)
    same_kernels = tiny_model(TASKS[:1], backbone=micro_backbone())
    with pytest.raises(ValueError, match="must belong to a bank with fingerprint"):
        same_kernels.load_task(tmp_path / "edge.rctask")


def test_the_fingerprint_is_of_all_weights_in_common():
    model = tiny_model(TASKS[:1], shared_stages=STEM)
    before = model.bank.fingerprint
    moving_mean = model.bank.template.get_layer("stem_norm").layer.moving_mean
    moving_mean.assign(moving_mean + 1.0)
    assert model.bank.fingerprint != before


def test_reports():
    model, plain = tiny_model(TASKS[:3], shared_stages=STEM), tiny_model(TASKS[:3])
    report, parameters = model.mac_report(), model.parameter_report()
    low = 64 * 9 * 8 * 8  # the bank's second convolution stands right behind the stem
    assert report.common == 64 * 48 * 8 + low
    assert report.total == sum(task.total for task in report.tasks.values()) - 2 * report.common
    assert report.tasks["edge"].modulators == plain.mac_report().tasks["edge"].modulators - 64 * 8 * 8
    assert "once for all" in str(report)
    assert parameters.common == 4 * 4 * 3 * 8 + 2 * 8
    assert parameters.bank == plain.parameter_report().bank + 2 * 8
    assert parameters.tasks["edge"].total == plain.parameter_report().tasks["edge"].total - 8 * 8 - 8 - 2 * 8
    assert "shared stages" in str(parameters) and "shared stages" not in str(plain.parameter_report())
