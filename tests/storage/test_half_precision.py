"""Presets in half precision: what is rounded, what that costs, and whose bank it then is."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import safetensors
from support.tiny import TASKS, arrays, assert_same_bits, state, tiny_backbone, tiny_data, tiny_model
from support.trained import pretend_training

import rc_keras

COST = 3e-3  # largest difference of a prediction, of its range
MEAN_COST = 3e-4  # mean difference
HEADER = 64  # bytes of a file, for its precision and alignment

BANK, EDGE = Path("bank", "bank.safetensors"), Path("tasks", "edge", "task.rctask")


def predict(model):
    return arrays(model.predict(tiny_data(4)[0], verbose=0))


def rounded(values):
    """By NumPy: kernels and matrices rounded, vectors as they are."""
    return {
        name: value.astype("float16").astype("float32") if value.ndim > 1 and value.dtype == "float32" else value
        for name, value in values.items()
    }


@pytest.fixture(scope="module")
def model():
    return pretend_training(tiny_model(TASKS[:3]))


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("half")
    model.save_to_preset(folder, dtype="float16")
    return folder


@pytest.fixture(scope="module")
def loaded(saved):
    return rc_keras.from_preset(saved)


def test_loaded_weights_are_the_rounded_ones_in_single_precision(model, loaded):
    for name in model.tasks:
        assert_same_bits(state(loaded.branch(name)), rounded(state(model.branch(name))))
    assert {v.dtype for v in loaded.branch("edge").weights} == {v.dtype for v in model.branch("edge").weights}


def test_norms_statistics_gains_and_biases_are_not_rounded(saved):
    for path in (BANK, EDGE):
        with safetensors.safe_open(saved / path, "numpy") as file:
            dtypes = {name: (len(s.get_shape()), s.get_dtype()) for name in file.keys() for s in [file.get_slice(name)]}  # noqa: SIM118
        assert {(4, "F16"), (1, "F32")} <= set(dtypes.values()) <= {(4, "F16"), (2, "F16"), (1, "F32")}
        assert dtypes["stem_norm/moving_variance"] == (1, "F32")


def test_what_it_costs(model, loaded):
    before, after = predict(model), predict(loaded)
    for name, expected in before.items():
        difference = np.abs(after[name] - expected) / np.ptp(expected)
        assert 0 < difference.max() <= COST and difference.mean() <= MEAN_COST, (name, difference.max())


def test_files_are_half_as_long(model, saved, tmp_path):
    model.save_to_preset(tmp_path)
    for path in (BANK, EDGE):
        with safetensors.safe_open(tmp_path / path, "numpy") as file:
            values = [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118
        expected = (tmp_path / path).stat().st_size - sum(value.nbytes // 2 for value in values if value.ndim > 1)
        assert abs((saved / path).stat().st_size - expected) <= HEADER


def test_the_rounded_bank_is_another_one(model, saved, loaded, tmp_path):
    assert loaded.bank.fingerprint != model.bank.fingerprint
    assert loaded.bank.fingerprint == model.bank.saved_fingerprint("float16")
    metadata, card = json.loads((saved / "metadata.json").read_text()), (saved / "README.md").read_text()
    assert metadata["fingerprint"] == loaded.bank.fingerprint and metadata["precision"] == "float16"
    assert loaded.bank.fingerprint in card and "float16" in card
    model.save_task("edge", tmp_path / "edge.rctask")
    with pytest.raises(ValueError, match="must belong to a bank with fingerprint"):
        loaded.load_task(tmp_path / "edge.rctask", overwrite=True)
    loaded.save_task("edge", tmp_path / "loaded.rctask")
    assert rc_keras.from_preset(saved, tasks=["normals"]).load_task(tmp_path / "loaded.rctask") == "edge"


def test_a_task_is_added_to_a_preset_in_half_precision(model, tmp_path):
    """From the model as it was, in half precision again, and from the loaded one, whose own tasks stay exact."""
    model.save_to_preset(tmp_path, dtype="float16")
    bank, pack = ((tmp_path / path).read_bytes() for path in (BANK, EDGE))
    more = rc_keras.from_preset(tmp_path)
    more.add_task(TASKS[3])
    more.save_to_preset(tmp_path, dtype="float16")
    assert ((tmp_path / BANK).read_bytes(), (tmp_path / EDGE).read_bytes()) == (bank, pack)
    more.save_to_preset(tmp_path)
    assert (tmp_path / BANK).read_bytes() == bank
    again = rc_keras.from_preset(tmp_path, tasks=["edge", "depth"])
    for name in again.tasks:
        assert_same_bits(state(again.branch(name)), state(more.branch(name)))
    with pytest.raises(ValueError, match="must belong to the bank"):
        model.save_to_preset(tmp_path)  # with the bank as it was


@pytest.mark.parametrize("arguments", [{"method": "single_task"}, {"shared_stages": 2}, {"response_energy": 0.9}])
def test_banks_of_every_kind(arguments, tmp_path):
    backbone = {"backbone": tiny_backbone()} if "shared_stages" in arguments else {}
    model = pretend_training(tiny_model(TASKS[:1], **backbone, **arguments))
    model.save_to_preset(tmp_path, dtype="float16")
    loaded = rc_keras.from_preset(tmp_path)
    assert_same_bits(state(loaded.branch("semseg")), rounded(state(model.branch("semseg"))))


# What is refused; nothing is written then


@pytest.mark.parametrize("dtype", ["float32", "half", "int8", np.float16])
def test_other_precisions(dtype, model, tmp_path):
    with pytest.raises(ValueError, match=r"`dtype` must be 'float16', or None .* Received: dtype="):
        model.save_to_preset(tmp_path / "preset", dtype=dtype)
    assert not (tmp_path / "preset").exists()


def test_weights_beyond_half_precision(tmp_path):
    model = tiny_model(TASKS[:1])
    head = model.branch("semseg").get_layer("semseg__decoder_head")
    head.kernel.assign(keras.ops.full(head.kernel.shape, 7e4))
    with pytest.raises(ValueError, match=r"above 65504. Received: decoder_head/kernel with 70000"):
        model.save_to_preset(tmp_path / "preset", dtype="float16")
    assert not (tmp_path / "preset").exists()


def test_weights_that_are_half_precision_already(tmp_path):
    keras.config.set_dtype_policy("float16")
    try:
        model = tiny_model(TASKS[:1])
        with pytest.raises(ValueError, match="whose weights are not float32. Received: .* is float16"):
            model.save_to_preset(tmp_path / "preset", dtype="float16")
        model.save_to_preset(tmp_path / "preset")
        fingerprint = rc_keras.from_preset(tmp_path / "preset").bank.fingerprint
    finally:
        keras.config.set_dtype_policy("float32")
    assert fingerprint == model.bank.fingerprint
