"""Stages shared as a whole, in truncated banks and in banks of whole trained networks."""

import json

import keras
import numpy as np
import pytest
from support.slow import slow
from support.tiny import (
    SIZE,
    TASKS,
    MicroDecoder,
    arrays,
    assert_same_bits,
    micro_backbone,
    state,
    tiny_backbone,
    tiny_data,
    tiny_decoder,
    tiny_model,
)
from support.trained import pretend_training

import rc_keras
from rc_keras import FilterBank
from rc_keras.files import safetensors_file
from rc_keras.layers import BankConcatConv2D, BankConv2D, Frozen
from rc_keras.network.bank import BANK_FORMAT, SUFFIX

ROUNDING = 1e-5  # of the range: float32 against float64
EIGENBASIS = 1e-4  # of the range: bases of covariances that differ in the last bits
ENERGY = 0.5  # of the micro network: one convolution keeps 8 of its 12 responses
STEM, ENCODER = "stem_relu", "high_relu"  # of the micro backbone
PLACE = rc_keras.Task("place", 4, "classification")


def assert_close(received, expected, tolerance=ROUNDING):
    np.testing.assert_allclose(received, expected, rtol=0, atol=tolerance * np.ptp(expected))


def truncated(tasks=TASKS[:2], stages=STEM, **kwargs):
    return tiny_model(tasks, response_images=tiny_data(4)[0], response_energy=ENERGY, shared_stages=stages, **kwargs)


def on(bank, tasks=TASKS[:2], **kwargs):
    return tiny_model(tasks, decoder=None, bank=bank, shared_stages=bank.shared_stages, **kwargs)


def assert_common_is_each(model, images):
    apart = {name: keras.ops.convert_to_numpy(model.branch(name)(images)) for name in model.tasks}
    for name, value in arrays(model(images)).items():
        assert_close(value, apart[name])


def counting(monkeypatch):
    """Names of the shared layers that are called, from now on."""
    calls = []
    for kind in (BankConv2D, BankConcatConv2D, Frozen):
        call = kind.call
        monkeypatch.setattr(
            kind, "call", lambda self, *a, call=call, **k: (calls.append(self.name), call(self, *a, **k))[1]
        )
    return calls


@pytest.fixture(scope="module")
def images():
    return tiny_data(4)[0]


@pytest.fixture(scope="module")
def donors():
    """`{shared stages: a trained model}`; tests must leave them as they are."""
    return {stages: pretend_training(tiny_model(TASKS[:2], shared_stages=stages)) for stages in (0, STEM)}


def test_a_truncated_bank(images):
    model, whole = truncated(), truncated(stages=0)
    assert model.bank.ranks == {"low_conv": 8, "high_conv": 8} and "stem_conv" in whole.bank.ranks
    assert [layer.name for layer in model.bank.frozen_layers] == ["stem_conv", "stem_norm"]
    assert set(model.bank.response_report.kept) == set(model.bank.ranks)
    for feature, expected in arrays(whole.bank.template(images)).items():  # of the stem nothing is dropped
        assert_close(arrays(model.bank.template(images))[feature], expected, EIGENBASIS)
    assert_common_is_each(model, images)
    macs, positions = model.mac_report(), (SIZE // 4) ** 2
    assert macs.common == positions * (48 * 8 + 72 * 8)  # the bank's second convolution stands right behind the stem
    assert macs.total == sum(task.total for task in macs.tasks.values()) - macs.common
    assert macs.tasks["edge"].modulators == positions * (8 * 8 + 8 * 12)
    parameters = model.parameter_report()
    assert parameters.common == 48 * 8 + 2 * 8 and parameters.bank == parameters.common + 72 * 8 + 72 * 8


def test_files_of_a_truncated_bank(images, tmp_path):
    model = truncated()
    path = tmp_path / "bank.safetensors"
    model.bank.save(path)
    _, metadata = safetensors_file.read(path, SUFFIX, BANK_FORMAT)
    assert metadata["shared_stages"] == '"stem_relu"' and "stem_conv" not in metadata["ranks"] and metadata["ranks"]
    loaded = FilterBank.load(path, micro_backbone(seed=5))
    larger = model.bank.for_backbone(micro_backbone(size=2 * SIZE))
    for bank in (loaded, larger):
        assert (bank.ranks, bank.shared_stages) == (model.bank.ranks, STEM)
        assert_same_bits(state(bank.template), state(model.bank.template))
    expected = arrays(model.predict(images, verbose=0))
    model.save(tmp_path / "model.keras")
    model.save_to_preset(tmp_path / "preset")
    for again in (keras.saving.load_model(tmp_path / "model.keras"), rc_keras.from_preset(tmp_path / "preset")):
        assert (again.bank.ranks, again.bank.shared_stages) == (model.bank.ranks, STEM)
        assert again.bank.fingerprint == model.bank.fingerprint
        assert json.dumps(again.get_config()) == json.dumps(model.get_config())
        assert_same_bits(arrays(again.predict(images, verbose=0)), expected)
    model.save_task("edge", tmp_path / "edge.rctask")
    same = on(loaded, TASKS[:1])
    same.load_task(tmp_path / "edge.rctask")
    assert_same_bits(state(same.branch("edge")), state(model.branch("edge")))
    others = truncated(stages=0), tiny_model(response_images=images, shared_stages=STEM)
    for other in others:
        with pytest.raises(ValueError, match="must belong to a bank with fingerprint"):
            other.load_task(tmp_path / "edge.rctask", overwrite=True)


@pytest.mark.parametrize("energy", [slow(None), ENERGY])
@pytest.mark.parametrize("stages", [0, STEM, ENCODER])
@pytest.mark.parametrize("before", [slow(0), STEM])
def test_a_bank_of_a_whole_network(before, stages, energy, donors, images, tmp_path):
    bank = FilterBank.from_task(donors[before], "semseg", images, energy, shared_stages=stages)
    shared = {layer.name for layer in bank.frozen_layers}
    assert len(shared) == {0: 0, STEM: 2, ENCODER: 8}[stages] and not shared & set(bank.convolutions)
    model = on(bank, [*TASKS[:2], PLACE])
    if energy is None:
        expected = donors[before].predict(images, verbose=0)["semseg"]
        assert_close(model.predict(images, verbose=0)["semseg"], expected)
    assert_common_is_each(model, images)
    bank.save(tmp_path / "bank.safetensors")
    for again in (FilterBank.load(tmp_path / "bank.safetensors", micro_backbone(5)), model.bank):
        assert (again.ranks, again.shared_stages, again.donor) == (bank.ranks, stages, again.donor)
        assert again.fingerprint == bank.fingerprint and again.donor.task == "semseg"
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert json.dumps(loaded.get_config()) == json.dumps(model.get_config())
    assert_same_bits(arrays(loaded.predict(images, verbose=0)), arrays(model.predict(images, verbose=0)))


def test_a_task_with_frozen_stages_becomes_a_bank_without(donors):
    """What the new bank does not freeze trains again, norms included."""
    model = on(FilterBank.from_task(donors[STEM], "semseg"))
    branch = model.branch("edge")
    assert all(layer.trainable for layer in branch.layers if layer.name.startswith("edge__") and layer.weights)
    assert "stem_conv" in model.bank.convolutions
    branch.compile(keras.optimizers.SGD(0.1), "mse")
    images, labels = tiny_data(4)
    before = state(branch)
    branch.train_on_batch(images.astype("float32"), labels["edge"])
    for name in ("stem_norm/gamma", "stem_norm/moving_mean", "stem_conv_modulator/direction"):
        assert not np.array_equal(state(branch)[name], before[name])


def test_features_that_are_those_of_a_frozen_layer(images):
    micro = micro_backbone()
    outputs = {"low_level": micro.get_layer("low_norm").output, "high_level": micro.output["high_level"]}
    backbone = keras.Model(micro.input, outputs)
    donor = pretend_training(tiny_model(TASKS[:2], backbone=backbone, shared_stages="low_norm"))
    bank = FilterBank.from_task(donor, "edge", shared_stages="low_norm")
    received = on(bank, backbone=backbone).predict(images, verbose=0)
    assert_close(received["edge"], donor.predict(images, verbose=0)["edge"])


def test_what_decoders_have_in_common(donors, images, monkeypatch):
    """Behind a frozen encoder stands a convolution of the bank that the dense tasks compute once."""
    bank = FilterBank.from_task(donors[0], "semseg", images, shared_stages=ENCODER)
    for tasks in ([*TASKS[:2], PLACE], [PLACE, *TASKS[:2]]):
        model = on(bank, tasks)
        calls = counting(monkeypatch)
        answers = arrays(model(images))
        assert calls.count("decoder_conv") == 1 and calls.count("high_conv") == 1
        monkeypatch.undo()
        assert answers["place"].shape == (4, 4)
        assert_common_is_each(model, images)
        positions = (SIZE // 4) ** 2
        dilated = (8 + 2 * 6) ** 2 * 8 * 12  # without what meets padding
        encoder, decoder = positions * (48 * 8 + 72 * 8 + 8 * 12) + dilated, positions * 12 * 8
        macs = model.mac_report()
        assert macs.common == encoder + decoder
        assert macs.total == sum(task.total for task in macs.tasks.values()) - 2 * encoder - decoder


def test_deeplab(images, monkeypatch):
    donor = pretend_training(tiny_model(TASKS[:2], backbone=tiny_backbone(), decoder=tiny_decoder(), shared_stages=1))
    bank = FilterBank.from_task(donor, "semseg", images, 0.9, shared_stages=2)
    model = on(bank, backbone=tiny_backbone(seed=5))
    assert any(isinstance(layer, BankConcatConv2D) for layer in model.bank.convolutions.values())
    calls = counting(monkeypatch)
    model(images)
    once = {layer.name for layer in model.bank.frozen_layers}
    assert once and all(calls.count(name) == 1 for name in once) and calls.count("decoder_fuse1_conv") == 2
    monkeypatch.undo()
    assert_common_is_each(model, images)
    assert {int(name[5]) for name in once if name.startswith("layer")} == {1, 2}
    assert model.mac_report().common > 0


def test_stages_of_the_donor_are_trained_by_tasks_on_its_bank(donors):
    model = rc_keras.MultiTaskModel(FilterBank.from_task(donors[STEM], "semseg"))
    for task in TASKS[:2]:
        model.add_task(task)
    for task in model.tasks:
        layers = [layer for layer in model.branch(task).layers if not isinstance(layer, BankConv2D)]
        assert all(layer.trainable for layer in layers)
        assert f"{task}__stem_norm" in {layer.name for layer in layers if layer.trainable_weights}


@keras.saving.register_keras_serializable(package="tests")
class PoolingDecoder(MicroDecoder):
    """Begins with a layer of the name that the pooled head has for another one."""

    def __call__(self, image, features, channels, prefix, seed):
        pooled = keras.layers.AveragePooling2D(2, name=f"{prefix}pool")(features["high_level"])
        return super().__call__(image, {**features, "high_level": pooled}, channels, prefix, seed)


def test_what_dense_tasks_have_in_common_is_not_that_of_others(images):
    donor = tiny_model(TASKS[:2], decoder=PoolingDecoder())
    bank = FilterBank.from_task(donor, "semseg", shared_stages=ENCODER)
    model = on(bank, [*TASKS[:2], PLACE])
    assert_common_is_each(model, images)


def test_stages_of_the_encoder_alone(donors):
    with pytest.raises(ValueError, match="`shared_stages` must be .* the name of one of its layers"):
        FilterBank.from_task(donors[0], "semseg", shared_stages="decoder_conv")
    with pytest.raises(ValueError, match="must be made with shared_stages=0. Received: shared_stages='stem_relu'"):
        stages = FilterBank.from_task(donors[0], "semseg", shared_stages=STEM)
        tiny_model(TASKS[:1], decoder=None, bank=stages, shared_stages=0)


def test_tasks_do_not_interfere(donors, images):
    bank = FilterBank.from_task(donors[STEM], "semseg", images, ENERGY, shared_stages=STEM)
    _, labels = tiny_data(4)

    def trained(tasks):
        model = on(bank, tasks)
        model.compile(optimizer=keras.optimizers.SGD(0.1))
        model.fit(images, {name: labels[name] for name in model.tasks}, shuffle=False, verbose=0)
        return model

    joint = trained(TASKS[:2])
    assert joint.bank.fingerprint == bank.fingerprint
    for task in TASKS[:2]:
        assert_same_bits(state(trained([task]).branch(task.name)), state(joint.branch(task.name)))
    before = state(joint.branch("edge"))
    joint.add_task("depth", init_from="edge")
    start, source = state(joint.branch("depth")), state(joint.branch("edge"))
    moved = {name for name in start if not np.array_equal(start[name], source[name])}
    assert moved and all(name.startswith("decoder_head") for name in moved)
    joint.compile(optimizer=keras.optimizers.SGD(0.1))
    joint.fit(images, {"depth": labels["depth"]}, verbose=0)
    assert_same_bits(state(joint.branch("edge")), before)
