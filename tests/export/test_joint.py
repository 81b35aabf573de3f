"""One call for all tasks: the signature or graph `all` in all three runtimes, and what it computes once."""

import keras
import numpy as np
import pytest
from support.slow import slow
from support.tiny import TASKS, tiny_backbone, tiny_data, tiny_decoder, tiny_model
from support.trained import pretend_training

import rc_keras
from rc_keras.export.formats.registry import REGISTRY

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exporters need Keras on TensorFlow")

PACKAGES = {"litert": "ai_edge_litert", "onnx": "onnxruntime", "tf_saved_model": "tensorflow"}
SAME = 1e-5  # of the range: the same operations, which a runtime may fuse otherwise
ROUNDED = 0.02  # of the range: activations are rounded to 8 bits once more
STEM = "stem_relu"


def model_of(stages, backbone=None):
    arguments = {} if backbone is None else {"backbone": backbone, "decoder": tiny_decoder()}
    return pretend_training(tiny_model(TASKS, shared_stages=stages, **arguments))


def path_of(folder, format):
    return folder / f"m{REGISTRY[format].suffix}"


def export(model, folder, format, **options):
    pytest.importorskip(PACKAGES[format])
    path = path_of(folder, format)
    return model.export(path, format=format, verbose=False, **options), path


def assert_all_is_each(path, model=None, tolerance=SAME):
    images, _ = tiny_data(2, seed=3)
    with rc_keras.export.runtime.load(path) as network:
        together, one = network.run(images), network.run(images[0])
        assert list(together) == network.tasks == list(one)
        for name in network.tasks:
            alone = network.run(images, name)
            np.testing.assert_allclose(together[name], alone, rtol=0, atol=tolerance * np.ptp(alone))
            np.testing.assert_allclose(one[name], alone[0], rtol=0, atol=tolerance * np.ptp(alone))
            if model is not None:
                expected = model.task(name).activate(model.branch(name)(images))
                expected = keras.ops.convert_to_numpy(expected)
                np.testing.assert_allclose(together[name], expected, rtol=0, atol=1e-4 * np.ptp(expected))


@pytest.mark.parametrize("format", PACKAGES)
@pytest.mark.parametrize("stages", [slow(0), slow("stem_conv"), STEM])
def test_all_equals_each(format, stages, tmp_path):
    model = model_of(stages)
    report, path = export(model, tmp_path, format, joint=True)
    assert report.passed and report.bank_kernels_stored_once == report.bank_kernels == 3
    assert 0 < report.joint.bytes < report.file_bytes and report.joint.relative_difference <= SAME
    assert "every task in one call" in str(report) and report.to_dict()["joint"]["bytes"] == report.joint.bytes
    assert_all_is_each(path, model)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["litert", "onnx"])
def test_what_is_common_is_computed_once(format, tmp_path):
    model = model_of(2, tiny_backbone())
    report, path = export(model, tmp_path, format, joint=True)
    convolution = "CONV_2D" if format == "litert" else "Conv"
    apart = sum(task.operators[convolution] for task in report.tasks.values())
    common = sum(isinstance(layer.layer, keras.layers.Conv2D) for layer in model.bank.frozen_layers) + 1
    assert report.joint.operators[convolution] == apart - (len(TASKS) - 1) * common
    assert_all_is_each(path, model)


def test_once_in_a_saved_model(tmp_path):
    report, _ = export(model_of(STEM), tmp_path, "tf_saved_model")
    apart = sum(task.operators["Conv2D"] for task in report.tasks.values())
    assert report.joint.operators["Conv2D"] == apart - (len(TASKS) - 1) * 2  # the stem, and the bank behind it


@pytest.mark.parametrize("format", PACKAGES)
def test_without(format, tmp_path):
    report, path = export(model_of(0), tmp_path, format, joint=False)
    assert report.joint is None and "joint" not in report.to_dict() and "one call" not in str(report)
    assert_all_is_each(path)


@pytest.mark.parametrize(
    ("format", "quantize"), [slow("litert", "float16"), ("litert", "int8"), slow("onnx", "float16"), ("onnx", "int8")]
)
def test_fewer_bits(format, quantize, tmp_path):
    data = {"representative_data": tiny_data(8)[0]} if quantize == "int8" else {}
    report, path = export(model_of(STEM), tmp_path, format, joint=True, quantize=quantize, **data)
    assert report.bank_kernels_stored_once == report.bank_kernels == 3
    assert_all_is_each(path, tolerance=ROUNDED)


@pytest.mark.slow
def test_litert_stores_no_weight_twice(tmp_path):
    model = model_of(0, tiny_backbone())
    without, _ = export(model, tmp_path, "litert")
    report, _ = export(model, tmp_path, "litert", joint=True, overwrite=True)
    assert report.file_bytes - without.file_bytes < 0.2 * report.file_bytes + 30_000
    assert report.joint.bytes == pytest.approx(report.file_bytes - without.file_bytes, rel=0.2)


@pytest.mark.slow
def test_onnx_graph_refers_to_the_weights_of_the_tasks(tmp_path):
    report, path = export(model_of(0, tiny_backbone()), tmp_path, "onnx", joint=True)
    assert (path / "all.onnx").stat().st_size == report.joint.bytes
    assert not (path / "all.bin").exists()
    weights = sum((path / name).stat().st_size for name in ("bank.bin", *(f"{task.name}.bin" for task in TASKS)))
    assert report.joint.bytes < 0.5 * weights


@pytest.mark.slow
def test_onnx_folder_that_changes(tmp_path):
    model = model_of(0)
    _, path = export(model, tmp_path, "onnx", joint=True, tasks=["semseg", "edge"])
    export(model, tmp_path, "onnx", tasks=["depth"])  # stays, and `depth` is run by itself
    assert (path / "all.onnx").exists()
    assert_all_is_each(path, model)
    pretend_training(model, seed=1)
    report, _ = export(model, tmp_path, "onnx", tasks=["edge"], overwrite=True)
    assert not (path / "all.onnx").exists() and any("all.onnx" in note for note in report.notes)
    assert_all_is_each(path)


@pytest.mark.slow
def test_onnx_graph_of_other_weights_is_not_used(tmp_path):
    model = model_of(0)
    _, path = export(model, tmp_path, "onnx", joint=True, tasks=["semseg", "edge"])
    pretend_training(model, seed=1)
    (tmp_path / "new").mkdir()
    _, other = export(model, tmp_path / "new", "onnx", tasks=["edge"])
    for name in ("edge.onnx", "edge.bin"):  # shipped alone
        (path / name).write_bytes((other / name).read_bytes())
    assert_all_is_each(path)


@pytest.mark.slow
def test_onnx_graph_that_is_damaged(tmp_path):
    _, path = export(model_of(0), tmp_path, "onnx", joint=True)
    content = bytearray((path / "all.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (path / "all.onnx").write_bytes(content)
    with pytest.raises(ValueError, match="all.onnx"):
        rc_keras.export.runtime.load(path)


@pytest.fixture(scope="module")
def donor():
    return pretend_training(tiny_model(TASKS[:1], shared_stages=STEM))


@pytest.mark.parametrize("format", PACKAGES)
@pytest.mark.parametrize("stages", [slow(0), STEM, slow("high_relu")])
def test_banks_of_leading_responses_and_of_whole_networks(format, stages, donor, tmp_path):
    bank = rc_keras.FilterBank.from_task(donor, "semseg", response_energy=0.7, shared_stages=stages)
    place = rc_keras.Task("place", 4, "classification")
    model = tiny_model([place, *TASKS[:2]], decoder=None, bank=bank, shared_stages=stages)
    report, path = export(pretend_training(model), tmp_path, format, joint=True)
    assert report.passed and report.bank_kernels_stored_once == report.bank_kernels
    assert_all_is_each(path, model)


@pytest.mark.slow
@pytest.mark.parametrize("format", PACKAGES)
def test_convolutions_of_several_maps(format, tmp_path):
    size = 128  # where the decoder's first convolution is computed before resizing
    donor = pretend_training(tiny_model(TASKS[:1], backbone=tiny_backbone(), decoder=tiny_decoder()))
    bank = rc_keras.FilterBank.from_task(donor, "semseg", response_energy=0.7, shared_stages=2)
    arguments = {"backbone": tiny_backbone(size=size), "image_shape": (size, size, 3), "decoder": None}
    model = pretend_training(tiny_model(TASKS[:2], bank=bank, shared_stages=2, **arguments))
    report, path = export(model, tmp_path, format, joint=True)
    assert report.passed and report.bank_kernels_stored_once == report.bank_kernels > len(bank.convolutions)
    images = np.random.default_rng(0).integers(0, 256, (1, size, size, 3)).astype("uint8")
    with rc_keras.export.runtime.load(path) as network:
        together = network.run(images)
        for name in network.tasks:
            alone = network.run(images, name)
            np.testing.assert_allclose(together[name], alone, rtol=0, atol=SAME * np.ptp(alone))


def test_a_layer_that_is_called_twice(tmp_path):
    image = keras.Input((64, 64, 3))
    stem = keras.layers.Conv2D(16, 3, strides=4, padding="same", name="stem")
    low, high = stem(image), stem(255.0 - image)
    for _ in range(4):  # so that Keras comes to the second call first
        low = keras.layers.ReLU()(low)
    high = keras.layers.Conv2D(16, 3, strides=4, padding="same", name="last")(high)
    network = keras.Model(image, {"low_level": low, "high_level": high})
    model = rc_keras.build(["edge", "depth"], network, decoder=tiny_decoder(), image_shape=(64, 64, 3))
    model.export(tmp_path / "model", format="tf_saved_model", joint=True, verbose=False)  # which compares
