"""Banks of a whole trained network: what a task starts from, what it shares, and everything a model does on one."""

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
from rc_keras.layers import Adapter, BankConcatConv2D, BankConv2D, ConcatConv2D
from rc_keras.methods import METHODS
from rc_keras.network.bank import BANK_FORMAT, SUFFIX
from rc_keras.network.donor import with_features
from rc_keras.network.plain_network import plain_network

ROUNDING = 1e-5  # of the range: float32 against float64
PLACE = rc_keras.Task("place", 4, "classification")
WITH_BANK = [name for name, method in METHODS.items() if method.shares_kernels]
KEEPS = [name for name in WITH_BANK if not METHODS[name].drawn or name == "low_rank"]


def predict(model, images):
    return arrays(model.predict(images, verbose=0))


def assert_close(received, expected):
    np.testing.assert_allclose(received, expected, rtol=0, atol=ROUNDING * np.ptp(expected))


@pytest.fixture(scope="module")
def images():
    return tiny_data(4)[0]


@pytest.fixture(scope="module")
def donor():
    """A trained model; tests must leave it as it is."""
    return pretend_training(tiny_model(TASKS[:2]))


@pytest.fixture(scope="module")
def bank(donor, images):
    return FilterBank.from_task(donor, "semseg", images)


@pytest.fixture(scope="module")
def deep_donor():
    """One with DeepLabv3+ decoders."""
    return pretend_training(tiny_model(TASKS[:2], backbone=tiny_backbone(), decoder=tiny_decoder()))


@pytest.fixture(scope="module")
def deep_bank(deep_donor, images):
    return FilterBank.from_task(deep_donor, "semseg", images)


def on(bank, tasks=TASKS[:2], backbone=None, **kwargs):
    return tiny_model(tasks, backbone=backbone or micro_backbone(seed=5), decoder=None, bank=bank, **kwargs)


@pytest.mark.parametrize("method", [name for name in METHODS if METHODS[name].shared_encoder is None])
def test_the_plain_network_of_every_method(method, images):
    """Bank and adapter are one kernel; and where they cannot be one, that is said."""
    model = pretend_training(tiny_model(TASKS[:1], method=method))
    branch = with_features(model.branch("semseg"), model.bank.template)
    if method == "parallel_adapter":
        with pytest.raises(ValueError, match="must be a linear map of the responses"):
            plain_network(branch, "semseg__")
        return
    plain = plain_network(branch, "semseg__")
    assert not any(isinstance(layer, (Adapter, BankConv2D)) for layer in plain.layers)
    assert not any("__" in layer.name for layer in plain.layers)
    for name, expected in branch.predict(images, verbose=0).items():
        assert_close(plain.predict(images, verbose=0)[name], expected)
    before = state(model.branch("semseg"))
    for variable in plain.variables:
        variable.assign(np.zeros(variable.shape))
    assert_same_bits(state(model.branch("semseg")), before)


@pytest.mark.parametrize("method", WITH_BANK)
def test_the_donor_is_grafted_back_without_a_change(method, donor, images):
    bank = FilterBank.from_task(donor, "semseg", method=method)
    received = predict(on(bank, method=method), images)
    expected = predict(donor, images)
    if method in KEEPS:
        assert_close(received["semseg"], expected["semseg"])
    assert not np.allclose(received["edge"], expected["edge"])


def test_tasks_start_from_the_donors_function_with_heads_of_their_own(deep_bank, deep_donor, images):
    model = on(deep_bank, [*TASKS, PLACE], tiny_backbone(seed=5))
    before_head = "decoder_fuse2_relu"

    def maps(network):
        layer = network.get_layer(f"{network.name}__{before_head}")
        return keras.Model(network.input, layer.output).predict(images, verbose=0)

    for name in ("edge", "normals", "depth"):
        assert_close(maps(model.branch(name)), maps(deep_donor.branch("semseg")))
    kernels = [np.array(model.branch(name).get_layer(f"{name}__decoder_head").kernel) for name in ("edge", "depth")]
    assert not np.array_equal(*kernels)
    again = on(deep_bank, [TASKS[3]], tiny_backbone()).branch("depth").get_layer("depth__decoder_head").kernel
    np.testing.assert_array_equal(np.array(again), kernels[1])
    fresh = tiny_model([TASKS[3]], backbone=tiny_backbone(), decoder=tiny_decoder()).branch("depth")
    np.testing.assert_array_equal(np.array(fresh.get_layer("depth__decoder_head").kernel), kernels[1])
    # The donor's name with other channels has a new head, and a classifier sees the encoder alone.
    other = on(deep_bank, [rc_keras.Task("semseg", 7, "segmentation")], tiny_backbone())
    assert other.branch("semseg").output.shape[-1] == 7
    place = model.branch("place")
    assert place.output.shape[1:] == (4,)
    assert [layer.name for layer in place.layers if "decoder" in layer.name] == [
        "place__decoder_pool",
        "place__decoder_head",
    ]
    features = deep_donor.branch("semseg").get_layer("semseg__layer4_0_relu2").output
    expected = keras.Model(deep_donor.branch("semseg").input, features).predict(images, verbose=0).mean((1, 2))
    pooled = keras.Model(place.input, place.get_layer("place__decoder_pool").output).predict(images, verbose=0)
    assert_close(pooled, expected)


def test_what_is_shared(deep_bank):
    model = on(deep_bank, TASKS[:2], tiny_backbone())
    first, second = (model.branch(name) for name in ("semseg", "edge"))
    names = set(deep_bank.convolutions)
    assert {"conv1", "decoder_aspp_rate1_conv", "decoder_fuse1_conv", "decoder_fuse2_conv"} < names
    assert "decoder_head" not in names and "decoder_aspp_1x1_conv" not in names
    for name in names:
        assert first.get_layer(name) is second.get_layer(name) is model.bank.convolutions[name]
    assert isinstance(model.bank.convolutions["decoder_fuse1_conv"], BankConcatConv2D)
    report = model.parameter_report()
    task = report.tasks["edge"]
    own = [layer for layer in second.layers if layer.name.startswith("edge__")]
    assert task.total == sum(int(np.prod(v.shape)) for layer in own for v in layer.trainable_variables)
    assert report.bank == deep_bank.size
    counted = model.mac_report().tasks["edge"]
    assert counted.decoder > 0 and counted.total == sum((counted.convolutions, counted.modulators, counted.decoder))


def test_the_decoder_is_the_banks(bank):
    same = tiny_model(TASKS[:1], decoder=MicroDecoder(), bank=bank)
    assert isinstance(same.decoder("semseg"), MicroDecoder)
    for decoder in ("deeplabv3plus", tiny_decoder()):
        with pytest.raises(ValueError, match="`decoder` must be None with a bank that holds the decoder of 'semseg'"):
            tiny_model(TASKS[:1], decoder=decoder, bank=bank)
        with pytest.raises(ValueError, match="`decoder` must be None"):
            on(bank).add_task("depth", decoder)
    model = on(bank)
    model.add_task("depth")
    assert model.trainable_tasks == ["depth"]


def test_a_donor_that_trained_its_encoder_with_others(images):
    model = pretend_training(tiny_model(TASKS[:2], method="multi_task"))
    bank = FilterBank.from_task(model, "semseg")
    assert_close(predict(on(bank), images)["semseg"], predict(model, images)["semseg"])


def test_a_spoiled_file(bank, tmp_path):
    path = tmp_path / "bank.safetensors"
    tensors, metadata = safetensors_file.read(_saved(bank, path), SUFFIX, BANK_FORMAT)
    code = json.dumps({"task": "a", "channels": 1, "decoder": {"class_name": "__lambda__", "config": {"value": "x"}}})
    for key, text in (
        ("donor", "{}"),
        ("donor", "["),
        ("donor", code),
        ("donor", json.dumps({**json.loads(metadata["donor"]), "channels": "5"})),
        ("ranks", "[]"),
        ("ranks", json.dumps({"low_conv": -1})),
        ("ranks", json.dumps({"absent": 8})),
    ):
        spoiled = safetensors_file.to_bytes(BANK_FORMAT, tensors, {**metadata, key: text})
        path.write_bytes(spoiled)
        with pytest.raises(ValueError, match="must say which decoder it holds" if key == "donor" else "must"):
            FilterBank.load(path, micro_backbone())


def _saved(bank, path):
    bank.save(path)
    return path


def test_refused_donors(donor, images):
    model = tiny_model([PLACE, TASKS[0]])
    with pytest.raises(ValueError, match="`task` must be dense"):
        FilterBank.from_task(model, "place")
    with pytest.raises(ValueError, match="semsegg"):
        FilterBank.from_task(model, "semsegg")
    for method in ("single_task", "multi_task"):
        with pytest.raises(ValueError, match="`method` must be one with a frozen bank"):
            FilterBank.from_task(donor, "semseg", method=method)
    with pytest.raises(ValueError, match="`response_energy` must be None for method"):
        FilterBank.from_task(donor, "semseg", response_energy=0.9, method="rc")
    with pytest.raises(ValueError, match="`response_images` must be None for method"):
        FilterBank.from_task(donor, "semseg", images, method="rc")


@pytest.mark.parametrize("energy", [slow(None), 0.7])
def test_files(donor, images, energy, tmp_path):
    bank = FilterBank.from_task(donor, "semseg", images, energy)
    assert (bank.ranks is None) == (energy is None)
    path = tmp_path / "bank.safetensors"
    bank.save(path)
    loaded = FilterBank.load(path, micro_backbone(seed=5))
    assert (loaded.ranks, loaded.fingerprint, loaded.donor.task) == (bank.ranks, bank.fingerprint, "semseg")
    assert_same_bits(state(loaded.template), state(bank.template))
    model = on(path)
    assert_same_bits(predict(model, images), predict(on(bank), images))
    pretend_training(model)
    expected = predict(model, images)
    model.save(tmp_path / "model.keras")
    model.save_to_preset(tmp_path / "preset")
    for again in (keras.saving.load_model(tmp_path / "model.keras"), rc_keras.from_preset(tmp_path / "preset")):
        assert_same_bits(predict(again, images), expected)
        again.add_task(PLACE)
        again.add_task("depth")
        assert again.bank.fingerprint == bank.fingerprint
    model.save_task("edge", tmp_path / "edge.rctask")
    other = on(bank, TASKS[:1])
    other.load_task(tmp_path / "edge.rctask")
    assert_same_bits(state(other.branch("edge")), state(model.branch("edge")))
    with pytest.raises(ValueError, match="must belong to a bank with fingerprint"):
        donor.load_task(tmp_path / "edge.rctask", overwrite=True)


def test_another_image_size_and_output_stride(deep_bank):
    backbone = rc_keras.backbones.resnet((1, 1, 1, 1), (8, 8, 16, 16), (2 * SIZE, SIZE, 3), output_stride=8)
    model = on(deep_bank, TASKS[:1], backbone, image_shape=(2 * SIZE, SIZE, 3))
    assert model.branch("semseg").output.shape[1:3] == (2 * SIZE, SIZE)


def test_training_leaves_bank_and_other_tasks(bank, images):
    _, labels = tiny_data(4)
    model = on(bank)
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    model.trainable_tasks = ["semseg"]
    fingerprint, edge, semseg = bank.fingerprint, state(model.branch("edge")), state(model.branch("semseg"))
    model.fit(images, {name: labels[name] for name in model.tasks}, verbose=0)
    assert model.bank.fingerprint == fingerprint
    assert_same_bits(state(model.branch("edge")), edge)
    moved = state(model.branch("semseg"))
    for name in ("decoder_conv_modulator/direction", "decoder_norm/gamma", "decoder_head/kernel"):
        assert not np.array_equal(moved[name], semseg[name])


def test_a_second_generation(bank, images):
    """A task on a decoder bank can be the donor of another bank."""
    model = pretend_training(on(bank))
    second = FilterBank.from_task(model, "edge", images)
    assert second.donor.task == "edge" and set(second.convolutions) == set(bank.convolutions)
    assert_close(predict(on(second), images)["edge"], predict(model, images)["edge"])


def test_the_bank_convolution_of_several_maps_is_that_of_one_map():
    generator = np.random.default_rng(0)
    for small, size in (((8, 8), (32, 32)), ((8, 8), (8, 8)), ((5, 6), (18, 24))):
        maps = [generator.normal(size=(2, *small, 16)), generator.normal(size=(2, *size, 6))]
        maps = [keras.ops.convert_to_tensor(x.astype("float32")) for x in maps]
        plain, shared = ConcatConv2D(12, 3, reference=1, use_bias=False), BankConcatConv2D(12, (3, 3), reference=1)
        expected = np.array(plain(maps))
        assert shared(maps).shape == expected.shape
        shared.kernel.assign(np.array(plain.kernel))
        np.testing.assert_array_equal(np.array(shared(maps)), expected)
        assert not shared.trainable_variables
        again = BankConcatConv2D.from_config(shared.get_config())
        assert again.reference == 1 and again.compute_output_shape([x.shape for x in maps]) == expected.shape


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exporters need Keras on TensorFlow")
@pytest.mark.parametrize("energy", [None, 0.7])
def test_folded(energy, deep_donor):
    from rc_keras.export.folding.fold import fold

    images = np.random.default_rng(0).uniform(0, 255, (2, 4 * SIZE, 4 * SIZE, 3)).astype("float32")
    backbone = tiny_backbone(size=4 * SIZE)
    bank = FilterBank.from_task(deep_donor, "semseg", response_energy=energy)
    model = on(bank, TASKS[:1], backbone, image_shape=(4 * SIZE, 4 * SIZE, 3))
    branch = pretend_training(model).branch("semseg")
    expected = np.asarray(branch(images))
    for merged in (False, True):
        folded = fold(branch, parts := {}, merged=merged)
        assert not any(isinstance(layer, (Adapter, BankConv2D)) for layer in folded.layers)
        assert_close(folded(images), expected)
        rows = [name for name in parts if name.startswith("decoder_fuse1_conv_map0_row")]
        assert merged or len(rows) == 3


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exporters need Keras on TensorFlow")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("model.tflite", {}),
        ("model.tflite", {"quantize": "int8", "representative_data": True}),
        ("onnx", {"format": "onnx"}),
        ("onnx", {"format": "onnx", "quantize": "int8", "representative_data": True}),
        ("saved_model", {"format": "tf_saved_model"}),
    ],
)
def test_exports_of_a_convolution_of_several_maps(deep_donor, name, options, tmp_path):
    """Where a part is computed before resizing, each row of its kernel is stored once for all tasks."""
    pytest.importorskip("onnx" if "onnx" in name else "ai_edge_litert")
    size = 4 * SIZE
    bank = FilterBank.from_task(deep_donor, "semseg", response_energy=0.7)
    model = pretend_training(on(bank, TASKS[:2], tiny_backbone(size=size), image_shape=(size, size, 3)))
    if "representative_data" in options:
        photos = np.random.default_rng(0).integers(0, 256, (8, size, size, 3)).astype("uint8")
        options = {**options, "representative_data": photos}
    report = model.export(tmp_path / name, verbose=False, **options)
    assert report.passed
    assert report.bank_kernels_stored_once == report.bank_kernels > len(bank.convolutions)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exporters need Keras on TensorFlow")
@pytest.mark.parametrize("mode", ["shared", "merged"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("model.tflite", {}),
        ("model.tflite", {"quantize": "float16"}),
        ("model.tflite", {"quantize": "int8", "representative_data": tiny_data(8)[0]}),
        ("onnx", {"format": "onnx"}),
        ("onnx", {"format": "onnx", "quantize": "float16"}),
        ("saved_model", {"format": "tf_saved_model"}),
    ],
)
def test_exports(donor, name, options, mode, tmp_path):
    pytest.importorskip("onnx" if "onnx" in name else "ai_edge_litert")
    bank = FilterBank.from_task(donor, "semseg", response_energy=0.7)
    model = pretend_training(on(bank, [*TASKS[:2], PLACE]))
    tasks = model.tasks if mode == "shared" else ["edge"]
    report = model.export(tmp_path / name, tasks=tasks, mode=mode, verbose=False, **options)
    assert report.passed
    if mode == "shared":
        assert report.bank_kernels_stored_once == report.bank_kernels == len(bank.convolutions)
