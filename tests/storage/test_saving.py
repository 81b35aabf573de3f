"""Whole models and single tasks on disk."""

import json
import os
import struct

import keras
import numpy as np
import pytest
from support.tiny import (
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

import rc_keras
from rc_keras.files import safetensors_file
from rc_keras.files.named_weights import named_variables
from rc_keras.storage import task_pack

UNIQUE_BYTES = 0.02  # of the unique weights, for a file that holds little else


def scramble(model, seed=0):
    """Gives every weight of every branch its own random value, bank excepted."""
    generator = np.random.default_rng(seed)
    for name in model.tasks:
        for variable in model.branch(name).weights:
            if variable.path not in {layer.kernel.path for layer in model.bank.convolutions.values()}:
                value = keras.ops.convert_to_numpy(variable)
                variable.assign(value + generator.uniform(0.01, 0.1, value.shape))
    return model


def predict(model):
    return arrays(model.predict(tiny_data(2)[0], verbose=0))


@pytest.mark.parametrize("method", ["rcm", pytest.param("single_task", marks=pytest.mark.slow)])
def test_whole_model_is_bit_exact(method, tmp_path):
    model = scramble(tiny_model(TASKS, method=method, backbone=tiny_backbone(), decoder=tiny_decoder()))
    model.trainable_tasks = ["edge", "depth"]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.tasks == model.tasks and loaded.trainable_tasks == model.trainable_tasks
    assert [loaded.task(name) for name in loaded.tasks] == list(TASKS)
    assert loaded.bank.fingerprint == model.bank.fingerprint
    assert_same_bits(predict(loaded), predict(model))
    loaded.add_task(rc_keras.Task("late", 4, "segmentation"))
    model.add_task(rc_keras.Task("late", 4, "segmentation"))
    assert_same_bits(predict(loaded), predict(model))  # a task added later starts the same


def test_file_holds_the_bank_once(tmp_path):
    backbone = rc_keras.backbones.resnet((1, 1, 1, 1), (32, 64, 128, 256), (32, 32, 3))
    decoder = rc_keras.decoders.DeepLabV3Plus(width=64, low_level_width=16)
    model = tiny_model(TASKS, backbone=backbone, decoder=decoder)
    model.save(tmp_path / "model.keras")
    unique = sum(v.numpy().nbytes if hasattr(v, "numpy") else np.asarray(v).nbytes for v in model.variables)
    assert os.path.getsize(tmp_path / "model.keras") == pytest.approx(unique, rel=UNIQUE_BYTES)


def test_tasks_in_another_order_load_into_the_right_places(tmp_path):
    model = scramble(tiny_model(TASKS))
    model.save_weights(tmp_path / "model.weights.h5")
    other = tiny_model(TASKS[::-1], bank=model.bank)
    other.load_weights(tmp_path / "model.weights.h5")
    assert_same_bits(predict(other), predict(model))
    fewer = tiny_model(TASKS[:2], bank=model.bank)
    with pytest.raises(ValueError, match="superfluous: depth__decoder_conv.kernel"):
        fewer.load_weights(tmp_path / "model.weights.h5")


def test_pack_carries_a_task_to_another_model(tmp_path):
    source = scramble(tiny_model(TASKS))
    source.save_task("depth", tmp_path / "depth.rctask")
    target = tiny_model(TASKS[:2], bank=source.bank)
    trainable = target.trainable_tasks
    assert target.load_task(tmp_path / "depth.rctask") == "depth"
    assert target.task("depth") == TASKS[3] and target.trainable_tasks == trainable
    assert_same_bits(state(target.branch("depth")), state(source.branch("depth")))
    np.testing.assert_array_equal(predict(target)["depth"], predict(source)["depth"])


def test_pack_holds_the_task_and_nothing_else(tmp_path):
    model = tiny_model(TASKS)
    model.save_task("depth", tmp_path / "depth.rctask")
    header, content = _parts(tmp_path / "depth.rctask")
    kernels = {f"{name}/kernel" for name in model.bank.convolutions}
    assert not kernels & set(header)
    own = {k: v for k, v in state(model.branch("depth")).items() if k not in kernels}
    assert set(header) - {"__metadata__"} == set(own)
    assert len(content) == sum(v.nbytes for v in own.values())
    assert header["__metadata__"]["fingerprint"] == model.bank.fingerprint


def test_pack_with_another_decoder(tmp_path):
    source = tiny_model([TASKS[0]], bank=rc_keras.FilterBank(micro_backbone()))
    source.add_task(TASKS[3], decoder=tiny_decoder())
    source.save_task("depth", tmp_path / "depth.rctask")
    target = tiny_model([TASKS[0]], bank=source.bank)
    target.load_task(tmp_path / "depth.rctask")
    assert_same_bits(predict(target), predict(source))
    target.save(tmp_path / "model.keras")
    assert_same_bits(predict(keras.saving.load_model(tmp_path / "model.keras")), predict(source))
    assert isinstance(target.decoder("semseg"), MicroDecoder)


@pytest.mark.slow
def test_replacing_a_task(tmp_path):
    source = scramble(tiny_model(TASKS[:2]))
    source.save_task("edge", tmp_path / "edge.rctask")
    target = tiny_model(TASKS[:2], bank=source.bank)
    target.compile(optimizer="adam")
    images, labels = tiny_data(4)
    target.fit(images, labels, batch_size=4, verbose=0)
    semseg, before = state(target.branch("semseg")), state(target.branch("edge"))
    with pytest.raises(ValueError, match="overwrite=True"):
        target.load_task(tmp_path / "edge.rctask")
    assert_same_bits(state(target.branch("edge")), before)
    target.load_task(tmp_path / "edge.rctask", overwrite=True)
    assert target.tasks == ["semseg", "edge"]
    assert_same_bits(state(target.branch("edge")), state(source.branch("edge")))
    assert_same_bits(state(target.branch("semseg")), semseg)
    assert target.optimizer.tasks == ["semseg"]  # momentum of the replaced weights is gone
    target.fit(images, labels, batch_size=4, verbose=0)


def _parts(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _with_metadata(path, **changes):
    header, content = _parts(path)
    header["__metadata__"].update(changes)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)


def _forged(path, **changes):
    """Changes metadata of a pack, with the right digest."""
    tensors, metadata = safetensors_file.read(path, task_pack.SUFFIX, task_pack.PACK_FORMAT)
    data = safetensors_file.to_bytes(task_pack.PACK_FORMAT, tensors, {**metadata, **changes})
    safetensors_file.write(path, task_pack.SUFFIX, data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-8]), "must be a safetensors file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-4] + bytes(4)), "is damaged"),
        (lambda path: _with_metadata(path, format="rc_keras.task.99"), "must have the format 'rc_keras.task.1'"),
        (lambda path: _forged(path, fingerprint="0" * 64), "fingerprint '.*Received: '0000"),
        (lambda path: _forged(path, method="rc_identity"), "method 'rcm'.*Received: 'rc_identity'"),
        (lambda path: _forged(path, task='{"class_name": "system", "module": "os", "config": {}}'), "system"),
        (
            lambda path: _forged(
                path, task='{"class_name": "Dense", "module": "keras.layers", "config": {"units": 1}}'
            ),
            "must hold a Task",
        ),
        (lambda path: _forged(path, task="{"), "cannot be read"),
    ],
)
def test_refused_packs_leave_the_model_as_it_was(damage, message, tmp_path):
    model = tiny_model(TASKS[:2])
    model.save_task("edge", tmp_path / "edge.rctask")
    model.remove_task("edge")
    before = predict(model)
    damage(tmp_path / "edge.rctask")
    with pytest.raises((ValueError, TypeError), match=message):
        model.load_task(tmp_path / "edge.rctask")
    assert model.tasks == ["semseg"]
    assert_same_bits(predict(model), before)


def test_pack_of_another_bank(tmp_path):
    tiny_model(TASKS[:1]).save_task("semseg", tmp_path / "semseg.rctask")
    stranger = tiny_model(TASKS[1:2], backbone=micro_backbone(seed=7))
    with pytest.raises(ValueError, match="fingerprint"):
        stranger.load_task(tmp_path / "semseg.rctask")


def test_wrong_suffix_and_unknown_task(tmp_path):
    model = tiny_model(TASKS[:1])
    with pytest.raises(ValueError, match=r"must end in '\.rctask'"):
        model.save_task("semseg", tmp_path / "semseg.h5")
    with pytest.raises(ValueError, match="Did you mean 'semseg'"):
        model.save_task("semsge", tmp_path / "semseg.rctask")
    assert not list(tmp_path.iterdir())


def test_precision_of_a_saved_model_is_its_own(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = tiny_model(TASKS[:2])
        model.save(tmp_path / "model.keras")
        model.save_task("edge", tmp_path / "edge.rctask")
        before = predict(model)
    finally:
        keras.config.set_dtype_policy("float32")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_same_bits(predict(loaded), before)
    loaded.load_task(tmp_path / "edge.rctask", overwrite=True)
    assert_same_bits(predict(loaded), before)
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.slow
def test_frozen_layers_and_training_state_come_back(tmp_path):
    model = tiny_model(TASKS[:2])
    model.branch("edge").get_layer("edge__low_norm").trainable = False
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss_weights={"semseg": 2.0})
    images, labels = tiny_data(4)
    model.fit(images, labels, batch_size=4, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert [v.path for v in loaded.trainable_variables] == [v.path for v in model.trainable_variables]
    for each in (model, loaded):
        each.fit(images, labels, batch_size=4, shuffle=False, verbose=0)
    assert_same_bits(predict(loaded), predict(model))


def test_weights_and_optimizer_state_load_into_a_fresh_model(tmp_path):
    images, labels = tiny_data(4)
    model, fresh = tiny_model(TASKS[:2]), tiny_model(TASKS[:2], seed=5)
    for each in (model, fresh):
        each.compile(optimizer=keras.optimizers.SGD(1e-2, momentum=0.9))
    model.fit(images, labels, batch_size=4, verbose=0)
    model.save_weights(tmp_path / "model.weights.h5")
    fresh.load_weights(tmp_path / "model.weights.h5")
    fresh.save_weights(tmp_path / "again.weights.h5")  # a state that no step has used yet is not lost
    fresh.load_weights(tmp_path / "again.weights.h5")
    assert_same_bits(predict(fresh), predict(model))
    for each in (model, fresh):
        each.fit(images, labels, batch_size=4, shuffle=False, verbose=0)
    assert_same_bits(predict(fresh), predict(model))


def test_weights_that_match_load_where_others_do_not(tmp_path):
    """As a Keras user does for another number of classes."""
    path = tmp_path / "m.weights.h5"
    source = tiny_model(TASKS[:3])
    source.set_weights([weight + 0.25 for weight in source.get_weights()])
    source.save_weights(path)
    model = tiny_model([rc_keras.Task("semseg", 7, "segmentation"), *TASKS[1:2], TASKS[3]])
    before = arrays(model._named_variables())
    with pytest.raises(ValueError, match="misshapen: semseg__decoder"):
        model.load_weights(path)
    assert_same_bits(arrays(model._named_variables()), before)
    with pytest.warns(UserWarning, match="(?s)missing: depth__.*superfluous: normals__.*misshapen: semseg__decoder"):
        model.load_weights(path, skip_mismatch=True)
    wanted, received = arrays(source._named_variables()), arrays(model._named_variables())
    for name, values in received.items():
        fits = name in wanted and wanted[name].shape == values.shape
        np.testing.assert_array_equal(values, wanted[name] if fits else before[name])
    with pytest.raises(ValueError, match="misshapen"):
        model.load_weights(path)


def test_removed_tasks_leave_no_trace_in_the_file(tmp_path):
    model = tiny_model(TASKS[:2])
    model.compile(optimizer="sgd", loss_weights={"edge": 2.0})
    model.remove_task("edge")
    model.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").tasks == ["semseg"]


def test_damaged_metadata_is_refused(tmp_path):
    model = tiny_model(TASKS[:1])
    model.save_task("semseg", tmp_path / "semseg.rctask")
    header, _ = _parts(tmp_path / "semseg.rctask")
    task = header["__metadata__"]["task"].replace('"loss_weight": 1.0', '"loss_weight": 9.0')
    assert task != header["__metadata__"]["task"]
    _with_metadata(tmp_path / "semseg.rctask", task=task)
    with pytest.raises(ValueError, match="is damaged"):
        model.load_task(tmp_path / "semseg.rctask", overwrite=True)


def test_weights_of_one_name_in_a_layer_are_numbered():
    """These names stand in files."""
    attention = keras.layers.MultiHeadAttention(1, 2, use_bias=False, name="attention")
    attention.build((None, 4, 2), (None, 4, 2))
    dense = keras.layers.Dense(2, name="task__dense")
    dense.build((None, 2))
    numbered = ["attention/kernel", "attention/kernel_1", "attention/kernel_2", "attention/kernel_3"]
    names = named_variables([attention, dense, attention], strip="task__")
    assert list(names) == [*numbered, "dense/kernel", "dense/bias"]


def test_weights_out_of_reach_leave_the_model_as_it_was(tmp_path):
    model = tiny_model(TASKS[:1])
    model.save_task("semseg", tmp_path / "semseg.rctask")
    tensors, metadata = safetensors_file.read(tmp_path / "semseg.rctask", task_pack.SUFFIX, task_pack.PACK_FORMAT)
    last = sorted(tensors)[-1]
    tensors[last] = np.full(tensors[last].shape, 1e300)
    data = safetensors_file.to_bytes(task_pack.PACK_FORMAT, tensors, metadata)
    safetensors_file.write(tmp_path / "semseg.rctask", task_pack.SUFFIX, data)
    before = state(model.branch("semseg"))
    with pytest.raises(ValueError, match=f"out of reach: {last} has values that float32 does not reach"):
        model.load_task(tmp_path / "semseg.rctask", overwrite=True)
    assert_same_bits(state(model.branch("semseg")), before)
