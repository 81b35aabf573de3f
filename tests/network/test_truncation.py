"""Truncated banks: ranks, what is kept of the function, files, and everything a model does on one."""

import keras
import numpy as np
import pytest
from support.tiny import SIZE, TASKS, arrays, assert_same_bits, micro_backbone, state, tiny_data, tiny_model

import rc_keras
from rc_keras import FilterBank
from rc_keras.layers import Adapter
from rc_keras.network.chains import chains

ROUNDING = 1e-5  # of the range: float32 against float64
ENERGY = 0.5  # of the micro network: one convolution keeps 8 of its 12 responses
METHODS = ("rcm", "rc_ri")


def wide_backbone(width=24, norms=True, bias=False, size=SIZE, activation=None):
    """A 3x3 convolution, and a 1x1 convolution of a third of its filters' rank, with norms or biases behind."""
    generator = np.random.default_rng(0)
    image = keras.Input((size, size, 3), name="image")
    x = image
    for name, filters, kernel, strides in (("spatial", width, 5, 4), ("pointwise", width, 1, 1), ("last", width, 3, 2)):
        x = keras.layers.Conv2D(
            filters, kernel, strides=strides, padding="same", use_bias=bias, activation=activation, name=name
        )(x)
        if norms:
            x = keras.layers.BatchNormalization(name=f"{name}_norm")(x)
        if name == "spatial":
            low = x
    network = keras.Model(image, {"low_level": low, "high_level": x}, name="wide")
    for variable in network.variables:
        scale = np.geomspace(1, 0.01, variable.shape[-1])  # so that few responses hold most of the energy
        value = generator.normal(size=variable.shape) * scale
        if variable.name == "kernel":  # mixed, or the responses would be ordered already
            value = value @ np.linalg.qr(generator.normal(size=(variable.shape[-1],) * 2))[0] / 10
        variable.assign(np.abs(value) + 0.5 if variable.name in ("gamma", "moving_variance") else value)
    return network


def bank_inputs(network, images, names):
    probe = keras.Model(network.input, {name: network.get_layer(name).input for name in names})
    return {name: np.array(value) for name, value in probe.predict(images, verbose=0).items()}


@pytest.mark.parametrize("images", [None, tiny_data(4)[0]])
def test_all_of_the_energy_is_the_bank_without_truncation(images):
    plain, whole = (FilterBank(micro_backbone(), "rcm", images, energy) for energy in (None, 1))
    assert_same_bits(state(plain.template), state(whole.template))
    assert plain.ranks is None and whole.ranks is None
    assert plain.to_bytes() == whole.to_bytes()
    assert "kept" not in str(whole.response_report)


@pytest.mark.parametrize("energy", [0.9, 0.99])
def test_ranks_are_those_of_the_measured_spectra(energy):
    backbone, images = wide_backbone(), tiny_data(8)[0]
    bank = FilterBank(backbone, "rcm", images, energy)
    names = [layer.name for layer in backbone.layers if isinstance(layer, keras.layers.Conv2D)]
    probe = keras.Model(backbone.input, {name: backbone.get_layer(name).output for name in names})
    for name, maps in probe.predict(images, verbose=0).items():
        kernel = backbone.get_layer(name).kernel
        vectors = np.array(maps, "float64").reshape(-1, maps.shape[-1])
        share = np.cumsum(np.linalg.eigvalsh(np.cov(vectors.T))[::-1])
        rank = int(np.argmax(share >= energy * share[-1])) + 1
        rank = min(-(-rank // 8) * 8, kernel.shape[-1])
        if rank * kernel.shape[-1] < np.prod(kernel.shape):
            assert bank.ranks[name] == rank == bank.convolutions[name].filters
            dropped = bank.response_report.dropped_energy(name)
            np.testing.assert_allclose(dropped, 1 - share[rank - 1] / share[-1], atol=ROUNDING)
            assert dropped <= 1 - energy
        else:
            assert name not in bank.convolutions
    assert "pointwise" in bank.convolutions, "a 1x1 convolution is taken in where that is smaller"
    assert {8} <= set(bank.ranks.values())


@pytest.mark.parametrize("norms", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_means_are_kept_on_the_response_images(method, norms):
    """The norm, or the bias, takes up the mean of what is dropped: each layer answers the same in the mean."""
    images = tiny_data(8)[0]
    backbone = wide_backbone(norms=norms, bias=not norms)
    bank = FilterBank(backbone, method, images, 0.9)
    assert 8 in bank.ranks.values()
    inputs = bank_inputs(backbone, images, bank.convolutions)
    for name, layer in bank.convolutions.items():
        expected, received = backbone.get_layer(name)(inputs[name]), layer(inputs[name])
        received = bank.template.get_layer(f"{name}_modulator")(received)
        if norms:
            expected = backbone.get_layer(f"{name}_norm")(expected)
            received = bank.template.get_layer(f"{name}_norm")(received)
        expected, received = np.array(expected, "float64"), np.array(received, "float64")
        np.testing.assert_allclose(
            received.mean((0, 1, 2)), expected.mean((0, 1, 2)), rtol=0, atol=ROUNDING * np.ptp(expected)
        )
        error = np.mean((received - expected).var((0, 1, 2)))
        assert error > 0 or bank.ranks[name] == layer.filters


def test_without_images_the_norm_says_what_the_mean_is():
    """Responses whose mean is that of the norm behind: the norm answers its offset, as it did."""
    backbone = wide_backbone()
    bank = FilterBank(backbone, "rcm", response_energy=0.9)
    for name, layer in bank.convolutions.items():
        kernel = np.array(layer.kernel, "float64").reshape(-1, layer.filters)
        matrix = np.array(bank.template.get_layer(f"{name}_modulator").matrix(), "float64")
        mean = np.array(backbone.get_layer(f"{name}_norm").moving_mean, "float64")
        full = np.array(backbone.get_layer(name).kernel, "float64").reshape(kernel.shape[0], -1)
        np.testing.assert_allclose(kernel @ matrix, full @ matrix.T @ matrix, atol=ROUNDING * np.abs(full).max())
        moved = np.array(bank.template.get_layer(f"{name}_norm").moving_mean)
        np.testing.assert_allclose(moved, mean @ matrix.T @ matrix, rtol=0, atol=ROUNDING * np.abs(mean).max())


def test_the_function_is_kept_up_to_the_energy():
    images = tiny_data(8)[0]
    errors = []
    for energy in (0.8, 0.95, 0.999, None):
        backbone = wide_backbone(width=40)
        bank = FilterBank(backbone, "rcm", images, energy)
        expected = backbone.predict(images, verbose=0)["high_level"]
        received = bank.template.predict(images, verbose=0)["high_level"]
        errors.append(np.mean(np.square(expected - received)) / expected.var((0, 1, 2)).mean())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < ROUNDING < errors[-2] < errors[0] < 0.5


def test_what_has_no_place_for_the_mean_and_groups_stay_whole():
    images = tiny_data(2)[0]
    assert FilterBank(wide_backbone(norms=False), "rcm", images, 0.9).ranks is None
    image = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(32, 3, strides=4, padding="same")(image)
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(32, 5, groups=2, padding="same", name="groups")(x))
    bank = FilterBank(keras.Model(image, {"low_level": x, "high_level": x}), "rcm", images, 0.5)
    assert bank.convolutions["groups"].filters == 32


def test_an_activation_within_the_convolution():
    """The bias of a convolution stands before its activation, and a norm behind that is left alone."""
    images, backbone = tiny_data(4)[0], wide_backbone(bias=True, activation="relu")
    bank = FilterBank(backbone, "rcm", images, 0.9)
    assert 8 in bank.ranks.values()
    for name in bank.convolutions:
        norms = [network.get_layer(f"{name}_norm").moving_mean for network in (bank.template, backbone)]
        np.testing.assert_array_equal(*map(np.array, norms))


def test_the_file_brings_the_ranks(tmp_path):
    images, path = tiny_data(4)[0], tmp_path / "bank.safetensors"
    bank = FilterBank(wide_backbone(), "rcm", images, 0.9)
    bank.save(path)
    loaded = FilterBank.load(path, wide_backbone())
    assert loaded.ranks == bank.ranks and loaded.fingerprint == bank.fingerprint
    assert_same_bits(state(loaded.template), state(bank.template))
    larger = bank.for_backbone(wide_backbone(size=2 * SIZE))
    assert str(larger.response_report) == str(bank.response_report)
    assert larger.ranks == bank.ranks and larger.template.output["low_level"].shape[1] == SIZE // 2
    with pytest.raises(ValueError, match="must hold the convolutions of the bank"):
        FilterBank.load(path, micro_backbone())
    with pytest.raises(ValueError, match="misshapen: last/kernel"):
        bank.for_backbone(wide_backbone(16))


def test_build_takes_energy_or_a_bank(tmp_path):
    images = tiny_data(4)[0]
    model = tiny_model(response_images=images, response_energy=ENERGY)
    assert model.bank.ranks == {"stem_conv": 8, "low_conv": 8, "high_conv": 8}
    model.bank.save(tmp_path / "bank.safetensors")
    for bank in (model.bank, tmp_path / "bank.safetensors"):
        again = tiny_model(bank=bank)
        assert_same_bits(arrays(model.predict(images, verbose=0)), arrays(again.predict(images, verbose=0)))
        with pytest.raises(ValueError, match="`response_energy` must be None with `bank`"):
            tiny_model(bank=bank, response_energy=0.9)


@pytest.mark.parametrize("method", ["rc", "batch_norm", "low_rank", "single_task", "multi_task"])
def test_methods_without_response_initialization(method):
    with pytest.raises(ValueError, match="`response_energy` must be None for method"):
        FilterBank(micro_backbone(), method, response_energy=0.9)


@pytest.mark.parametrize("energy", [0, -0.5, 1.5, 95, True, "0.9", float("nan")])
def test_wrong_energies(energy):
    with pytest.raises(ValueError, match="`response_energy` must be a share"):
        FilterBank(micro_backbone(), "rcm", response_energy=energy)


@pytest.fixture(params=METHODS)
def model(request):
    return tiny_model(TASKS[:2], method=request.param, response_energy=ENERGY)


def test_tasks_do_not_interfere_and_are_kept(model, tmp_path):
    images, labels = tiny_data(4)
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    fingerprint, other = model.bank.fingerprint, state(model.branch("edge"))
    model.trainable_tasks = ["semseg"]
    model.fit(images, {name: labels[name] for name in model.tasks}, verbose=0)
    assert model.bank.fingerprint == fingerprint
    assert_same_bits(state(model.branch("edge")), other)
    expected = arrays(model.predict(images, verbose=0))
    model.save(tmp_path / "model.keras")
    model.save_to_preset(tmp_path / "preset")
    for loaded in (keras.saving.load_model(tmp_path / "model.keras"), rc_keras.from_preset(tmp_path / "preset")):
        assert loaded.bank.ranks == model.bank.ranks
        assert_same_bits(arrays(loaded.predict(images, verbose=0)), expected)
    model.save_task("semseg", tmp_path / "semseg.rctask")
    fresh = tiny_model(TASKS[1:2], bank=model.bank, method=model.bank.method)
    fresh.load_task(tmp_path / "semseg.rctask")
    assert_same_bits(state(fresh.branch("semseg")), state(model.branch("semseg")))
    whole = tiny_model(TASKS[1:2], method=model.bank.method)
    with pytest.raises(ValueError, match="must belong to a bank with fingerprint"):
        whole.load_task(tmp_path / "semseg.rctask")


def test_reports_count_what_is_there(model):
    task = model.parameter_report().tasks["edge"]
    assert task.modulators == 8 * 8 + 8 * 8 + 8 * 12
    assert model.parameter_report().bank == sum(
        np.prod(layer.kernel.shape) for layer in model.bank.convolutions.values()
    )
    positions = (SIZE // 4) ** 2
    macs = model.mac_report().tasks["edge"]
    assert macs.modulators == positions * (8 * 8 + 8 * 8 + 8 * 12)
    dilated = (8 + 2 * 6) ** 2 * 8 * 8  # of 9 * 64 * 8 * 8, without what meets padding
    assert macs.convolutions == positions * (16 * 3 * 8 + 9 * 8 * 8 + 8 * 12) + dilated
    text = str(model.bank.response_report)
    kept = model.bank.response_report.kept["high_conv"]
    assert "dropped" in text and (kept.rank, kept.channels, kept.inputs) == (8, 12, 72)
    assert kept.macs == 8 * (72 + 12) / (72 * 12) and kept.parameters == 8 / 12


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exporters need Keras on TensorFlow")
def test_folded_in_the_cheaper_form():
    from support.trained import pretend_training

    from rc_keras.export.folding.fold import fold

    images = tiny_data(2)[0].astype("float32")
    model = pretend_training(
        tiny_model(TASKS[:1], backbone=wide_backbone(), response_images=images, response_energy=0.9)
    )
    branch = model.branch("semseg")
    expected = np.asarray(branch(images))
    for merged in (False, True):
        folded = fold(branch, bank := {}, merged=merged)
        assert not any(isinstance(layer, Adapter) for layer in folded.layers)
        np.testing.assert_allclose(folded(images), expected, rtol=0, atol=ROUNDING * np.ptp(expected))
        cheaper = {name for name, kept in model.bank.response_report.kept.items() if kept.macs < 1}
        assert set(bank) == (cheaper if merged else set(model.bank.convolutions))
    assert cheaper and any(second.name.endswith("_modulator") for _, second in chains(folded))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exporters need Keras on TensorFlow")
@pytest.mark.parametrize("mode", ["shared", "merged"])
@pytest.mark.parametrize("model", ["rcm"], indirect=True)
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
def test_exports(model, name, options, mode, tmp_path):
    from support.trained import pretend_training

    pytest.importorskip("onnx" if "onnx" in name else "ai_edge_litert")
    tasks = model.tasks if mode == "shared" else ["edge"]
    report = pretend_training(model).export(tmp_path / name, tasks=tasks, mode=mode, verbose=False, **options)
    assert report.passed
    if mode == "shared":
        assert report.bank_kernels_stored_once == report.bank_kernels == 3
