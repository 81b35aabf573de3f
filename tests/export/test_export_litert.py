"""A .tflite file computes what the model computes, with the bank in it once; verified by the tests on their own."""

import dataclasses
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from support.slow import slow
from support.tiny import TASKS, tiny_backbone, tiny_decoder
from support.trained import pretend_training

import rc_keras
import rc_keras.export
import rc_keras.export.report
from rc_keras.export.formats.tflite import exporter
from rc_keras.export.stages import compare, fold_tasks

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exporters need Keras on TensorFlow")
pytest.importorskip("ai_edge_litert")

TOLERANCE = 1e-4  # largest difference from the model, of the range of its output
# Names that are part of one another, and a character that no Python name has.
ALL_KINDS = (*TASKS, rc_keras.Task("edge-2", 1, "saliency"), rc_keras.Task("scene", 4, "classification"))


def model_of(tasks, size=32, backbone=None, seed=0, **arguments):
    backbone = tiny_backbone() if backbone is None else backbone
    arguments = {"decoder": tiny_decoder(), "image_shape": (size, size, 3), **arguments}
    return pretend_training(rc_keras.build(list(tasks), backbone=backbone, seed=0, **arguments), seed)


@pytest.fixture(scope="module")
def model():
    return model_of(ALL_KINDS)


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """`(path, report)` of a file with all kinds of tasks."""
    path = tmp_path_factory.mktemp("export") / "all kinds.tflite"
    return path, model.export(path, verbose=False)


def interpreter_of(path):
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_path=str(path))


def random_images(height, width, n=2):
    return np.random.default_rng(5).integers(0, 256, (n, height, width, 3)).astype("float32")


def assert_computes_the_same(path, model, task, images):
    """Compares by way of `model(...)` and `activate`, not by way of the exporter's own comparison."""
    signature = interpreter_of(path).get_signature_runner(task)
    for image in images[:, None]:
        expected = keras.ops.convert_to_numpy(model.task(task).activate(model(image, tasks=[task])[task]))
        outputs = signature(image=image)
        assert list(outputs) == [task]
        assert outputs[task].shape == expected.shape
        assert np.ptp(expected) > 1e-2
        np.testing.assert_allclose(outputs[task], expected, rtol=0, atol=TOLERANCE * np.ptp(expected))


@pytest.mark.parametrize("task", [task.name for task in ALL_KINDS])
def test_each_signature_computes_the_task(exported, model, task):
    assert_computes_the_same(exported[0], model, task, random_images(32, 32))


def test_signatures_are_named_as_the_tasks(exported, model):
    signatures = interpreter_of(exported[0]).get_signature_list()
    assert signatures == {name: {"inputs": ["image"], "outputs": [name]} for name in model.tasks}
    runner = interpreter_of(exported[0]).get_signature_runner("semseg")
    details = runner.get_input_details()["image"]
    assert tuple(details["shape"]) == (1, 32, 32, 3)
    assert details["dtype"] == np.float32


def test_probabilities_come_out_activated(exported):
    interpreter = interpreter_of(exported[0])
    for task in ("edge", "edge-2"):
        output = interpreter.get_signature_runner(task)(image=random_images(32, 32, 1))[task]
        assert 0.0 <= output.min() < output.max() <= 1.0
    normals = interpreter.get_signature_runner("normals")(image=random_images(32, 32, 1))["normals"]
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1.0, atol=1e-5)


def test_bank_kernels_stand_in_the_file_once_bit_for_bit(exported, model):
    content = exported[0].read_bytes()
    for name, layer in model.bank.convolutions.items():
        stored = keras.ops.convert_to_numpy(layer.kernel).transpose(3, 0, 1, 2).tobytes()
        assert content.count(stored) == 1, name


def test_only_plain_operators(exported):
    report = exported[1]
    allowed = {
        *("ADD", "CONCATENATION", "CONV_2D", "FULLY_CONNECTED", "LOGISTIC", "MAX_POOL_2D", "MEAN", "MUL", "PAD"),
        *("RESIZE_BILINEAR", "RSQRT", "SQUARE", "SUM", "MINIMUM", "BATCH_MATMUL", "RESHAPE"),
    }
    assert set(report.operators) <= allowed
    # 9 bank convolutions with a modulator each, 3 downsampling ones, 5 of the pyramid, 1 behind it, 3 and a head.
    # Padding: 4 strided layers that pad alike on both sides.
    semseg = report.tasks["semseg"].operators
    assert semseg["CONV_2D"] == 9 * 2 + 3 + 5 + 1 + 3 + 1
    assert semseg["PAD"] == 4
    # Sums: 4 blocks, the pooled and the upsampled part of a convolution, and one more for unit norms of nothing.
    assert semseg["ADD"] == 7
    assert semseg["MUL"] == 1


def test_report_counts_what_is_there(exported, model):
    path, report = exported
    assert report.passed
    assert report.file_bytes == path.stat().st_size
    assert report.bank_bytes == 4 * model.bank.size
    assert report.bank_kernels == report.bank_kernels_stored_once == 9
    assert report.bank_fingerprint == model.bank.fingerprint
    assert list(report.tasks) == model.tasks
    # A folded head of 5 classes and 16 features, against one of 1 class: 4 more columns and 4 more biases.
    assert report.tasks["semseg"].bytes - report.tasks["edge"].bytes == 4 * (4 * 16 + 4)
    assert report.tasks["semseg"].shape == (1, 32, 32, 5)
    assert report.tasks["scene"].shape == (1, 4)
    own = sum(task.bytes for task in report.tasks.values())
    assert report.ideal_bytes == report.bank_bytes + own
    assert report.separate_bytes == 6 * report.bank_bytes + own


def test_the_file_is_as_small_as_its_weights(tmp_path):
    backbone = rc_keras.backbones.resnet((1, 1, 1, 1), (32, 64, 128, 256), (32, 32, 3), seed=0)
    decoder = rc_keras.decoders.DeepLabV3Plus(width=256, low_level_width=16)
    model = model_of(TASKS[:2], backbone=backbone, decoder=decoder)
    report = model.export(tmp_path / "m.tflite", images=random_images(32, 32, 1), verbose=False)
    assert 0.99 < report.ratio < 1.005
    assert report.bank_bytes > 4e6


def test_some_of_the_tasks(model, tmp_path):
    path = tmp_path / "two.tflite"
    report = rc_keras.export.litert(model, path, tasks=["depth", "edge"], verbose=False)
    assert list(report.tasks) == ["depth", "edge"]
    assert set(interpreter_of(path).get_signature_list()) == {"depth", "edge"}
    assert_computes_the_same(path, model, "depth", random_images(32, 32))


@pytest.mark.parametrize("method", ["rc_identity", slow("single_task")])
def test_other_methods(method, tmp_path):
    model = model_of(TASKS[:2], method=method)
    report = model.export(tmp_path / "m.tflite", verbose=False)
    assert report.bank_kernels == {"rc_identity": 9, "single_task": 0}[method]
    assert_computes_the_same(tmp_path / "m.tflite", model, "edge", random_images(32, 32))


def test_free_image_size(tmp_path):
    model = model_of(TASKS[:1], image_shape=(None, None, 3))
    path = tmp_path / "m.tflite"
    report = model.export(path, images=[*random_images(40, 56, 1), *random_images(32, 32, 1)], verbose=False)
    for size in ((48, 48), (33, 65)):
        assert_computes_the_same(path, model, "semseg", random_images(*size))
    assert not any("BATCH" in name for name in report.operators)


def test_dilated_kernels_larger_than_the_map_stay_whole(tmp_path):
    model = model_of(TASKS[:1], backbone=tiny_backbone(output_stride=8))
    report = model.export(tmp_path / "m.tflite", verbose=False)
    assert report.bank_kernels_stored_once == 9
    assert_computes_the_same(tmp_path / "m.tflite", model, "semseg", random_images(32, 32))


@pytest.mark.parametrize("preprocess", [keras.layers.Rescaling(1 / 255), lambda x: x / 255, lambda x: 0.5 * x])
def test_a_scalar_factor_in_front_of_the_bank_stays_out_of_it(preprocess, tmp_path):
    layers = keras.layers
    image = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, strides=4, padding="same", activation="relu")(image)
    x = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", groups=2)(x))
    model = model_of(TASKS[:1], backbone=keras.Model(image, x), preprocess=preprocess)
    report = model.export(tmp_path / "m.tflite", verbose=False)
    assert report.bank_kernels_stored_once == 2
    assert_computes_the_same(tmp_path / "m.tflite", model, "semseg", random_images(32, 32))


def called_twice(same_norm):
    """A nested network of convolution and norm, twice; or the convolution alone, each time with a norm of its own."""
    layers = keras.layers
    part = keras.Input((None, None, 8))
    shared = layers.Conv2D(8, 3, padding="same", name="shared")
    nested = keras.Model(part, layers.BatchNormalization(name="norm")(shared(part)) if same_norm else shared(part))
    image = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, strides=4, padding="same", activation="relu")(layers.Rescaling(1 / 127.5, -1.0)(image))
    for name in "first", "second":
        y = nested(x) if same_norm else layers.BatchNormalization(name=name)(nested(x))
        x = layers.Add()([layers.ReLU()(y), x])
    return keras.Model(image, layers.Conv2D(12, 3, strides=4, padding="same", activation="relu")(x))


@pytest.mark.parametrize(
    ("same_norm", "arguments"),
    [
        (True, {"shared_stages": 1}),
        (False, {"shared_stages": 1}),
        slow(True, {"method": "batch_norm"}),
        (False, {"method": "batch_norm"}),
        slow(True, {"shared_stages": 1, "method": "batch_norm"}),
        slow(True, {}),
    ],
)
def test_a_convolution_with_a_norm_that_is_called_twice(same_norm, arguments, tmp_path):
    model = model_of(TASKS[2:], backbone=called_twice(same_norm), decoder="lraspp", **arguments)
    report = model.export(tmp_path / "m.tflite", joint=True, verbose=False)
    assert report.bank_kernels_stored_once == report.bank_kernels == 3
    for task in model.tasks:
        assert_computes_the_same(tmp_path / "m.tflite", model, task, random_images(32, 32))


def test_the_compiled_model_runtime_agrees(exported, model):
    compiled_model = pytest.importorskip("ai_edge_litert.compiled_model").CompiledModel.from_file(str(exported[0]))
    image = random_images(32, 32, 1)
    index = compiled_model.get_signature_index("depth")
    inputs = compiled_model.create_input_buffers(index)
    outputs = compiled_model.create_output_buffers(index)
    inputs[0].write(image)
    compiled_model.run_by_index(index, inputs, outputs)
    received = outputs[0].read(32 * 32, np.float32).reshape(1, 32, 32, 1)
    expected = keras.ops.convert_to_numpy(model(image, tasks=["depth"])["depth"])
    np.testing.assert_allclose(received, expected, rtol=0, atol=TOLERANCE * np.ptp(expected))


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_mixed_precision_is_exported_and_compared_in_float32(policy, tmp_path):
    """Whether the global policy is still that of the training or not."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = model_of(TASKS[:1])
        keras.config.set_dtype_policy(policy)
        report = model.export(tmp_path / "m.tflite", verbose=False)
        assert keras.config.dtype_policy().name == policy
    finally:
        keras.config.set_dtype_policy(before)
    assert report.tasks["semseg"].relative_difference < TOLERANCE


# Errors and what they leave behind


@pytest.fixture
def never_converts(monkeypatch):
    """Whatever is wrong must be said before the work begins."""

    def convert(*args):
        raise AssertionError("the conversion was started")

    monkeypatch.setattr(fold_tasks, "fold", convert)
    monkeypatch.setattr(exporter, "_convert", convert)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"path": "m.tflit"}, ValueError, r"Did you mean '\.tflite'"),
        ({"path": "m"}, ValueError, "suffix"),
        ({"format": "litrt"}, ValueError, "Did you mean 'litert'"),
        ({"format": "litert", "path": "m.bin"}, ValueError, r"must end in '\.tflite'"),
        ({"tasks": ["egde"]}, ValueError, "Did you mean 'edge'"),
        ({"tasks": "edge"}, ValueError, "`tasks` must be a list"),
        ({"tasks": []}, ValueError, "`tasks` must be a list"),
        ({"tasks": ["edge", "edge"]}, ValueError, "`tasks` must be a list"),
        ({"path": "missing/m.tflite"}, FileNotFoundError, "folder of `path` must exist"),
        ({"path": "folder.tflite"}, IsADirectoryError, "must be a file"),
        ({"path": "taken.tflite"}, FileExistsError, "overwrite=True"),
        ({"images": np.zeros((1, 31, 32, 3))}, ValueError, "Images must be"),
        ({"images": np.zeros((0, 32, 32, 3))}, ValueError, "at least one image"),
    ],
)
def test_bad_arguments_are_refused_before_the_work(model, tmp_path, never_converts, arguments, error, message):
    (tmp_path / "folder.tflite").mkdir()
    (tmp_path / "taken.tflite").write_bytes(b"before")
    arguments = {"path": "m.tflite", **arguments}
    path = tmp_path / arguments.pop("path")
    with pytest.raises(error, match=message):
        model.export(path, **arguments)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder.tflite", "taken.tflite"]
    assert (tmp_path / "taken.tflite").read_bytes() == b"before"


def test_an_unwritable_folder_is_refused_before_the_work(model, tmp_path, never_converts, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # tests may run as root, who may write anywhere
    with pytest.raises(PermissionError, match="writable"):
        model.export(tmp_path / "m.tflite")


def test_only_multi_task_models(model, tmp_path, never_converts):
    with pytest.raises(ValueError, match="MultiTaskModel"):
        rc_keras.export.litert(model.branch("edge"), tmp_path / "m.tflite")


def test_a_missing_runtime_names_what_to_install(model, tmp_path, never_converts, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(ImportError, match=r"pip install rc_keras\[litert\]"):
        model.export(tmp_path / "m.tflite")


def test_a_wrong_file_is_discarded(model, tmp_path, monkeypatch, capsys):
    """One gain, wrong by a tenth of a percent, must not get through."""

    def bad_fold(branch, bank, merged):
        folded = good_fold(branch, bank, merged)
        head = folded.get_layer("depth__decoder_head")
        head.kernel.assign(head.kernel * 1.001)
        return folded

    good_fold = fold_tasks.fold
    monkeypatch.setattr(fold_tasks, "fold", bad_fold)
    path = tmp_path / "m.tflite"
    path.write_bytes(b"before")
    with pytest.raises(rc_keras.export.ExportError, match="✗"):
        model.export(path, tasks=["depth"], overwrite=True, verbose=False)
    assert capsys.readouterr().out == ""
    assert path.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.tflite"]


def test_a_changed_bank_is_discarded(model, tmp_path, monkeypatch):
    def bad_fold(branch, bank, merged):
        folded = good_fold(branch, bank, merged)
        kernel = bank["conv1"].kernel
        kernel.assign(np.nextafter(keras.ops.convert_to_numpy(kernel), np.float32(9.0)))
        return folded

    good_fold = fold_tasks.fold
    monkeypatch.setattr(fold_tasks, "fold", bad_fold)
    with pytest.raises(rc_keras.export.ExportError, match="8 of 9 kernels"):
        model.export(tmp_path / "m.tflite", tasks=["depth"], verbose=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module, stage", [(exporter, "_convert"), (compare, "compare")])
def test_an_interruption_leaves_nothing(model, tmp_path, monkeypatch, module, stage):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, stage, interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.export(tmp_path / "m.tflite", tasks=["edge"], verbose=False)
    assert list(tmp_path.iterdir()) == []


# The report


def test_a_report_that_cannot_be_written_keeps_the_former_file(model, tmp_path, monkeypatch):
    def fail(path, content):
        raise OSError(28, "No space left on device")

    path = tmp_path / "m.tflite"
    path.write_bytes(b"former")
    monkeypatch.setattr(rc_keras.export.report, "write_json", fail)
    with pytest.raises(OSError, match="No space left"):
        model.export(path, tasks=["edge"], overwrite=True, verbose=False)
    assert path.read_bytes() == b"former" and len(list(tmp_path.iterdir())) == 1


def test_the_report_stands_beside_the_file_as_json(exported):
    path, report = exported
    saved = json.loads(path.with_name("all kinds.tflite.report.json").read_text())
    assert saved == json.loads(json.dumps(report.to_dict()))
    assert saved["passed"] is True
    assert saved["tasks"]["semseg"]["shape"] == [1, 32, 32, 5]
    assert saved["ratio"] == pytest.approx(report.file_bytes / report.ideal_bytes)
    assert {"keras", "tensorflow", "ai-edge-litert"} <= set(saved["versions"])


def test_the_table_shows_what_failed(exported):
    report = exported[1]
    table = str(report)
    assert table.count("✓") == len(report.tasks) + 1
    assert "✗" not in table
    bad = dataclasses.replace(report.tasks["depth"], passed=False)
    table = str(dataclasses.replace(report, tasks={**report.tasks, "depth": bad}, bank_kernels_stored_once=8))
    lines = {line.split()[0]: line for line in table.splitlines()[1:]}
    assert "✗" in lines["depth"]
    assert "✗" in lines["shared"]
    assert "✓" in lines["semseg"]


def test_the_sizes_are_drawn(exported, tmp_path):
    pytest.importorskip("matplotlib")
    exported[1].plot(tmp_path / "sizes.png")
    assert (tmp_path / "sizes.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 1


def test_progress_is_printed_when_asked_for(model, tmp_path, capsys):
    report = model.export(tmp_path / "m.tflite", tasks=["edge"])
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()[:4]] == ["Folding", "Converting", "Reading", "Comparing"]
    assert str(report) in printed


def test_importing_the_exporters_does_not_import_tensorflow():
    code = "import rc_keras.export, sys; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "KERAS_BACKEND": "jax"})


@pytest.mark.slow
def test_resnet18_with_five_tasks(tmp_path):
    tasks = ["edge", "semseg", "human_parts", "normals", "saliency"]
    model = pretend_training(rc_keras.build(tasks, image_shape=(512, 512, 3), seed=0))
    report = model.export(tmp_path / "m.tflite")
    assert 0.99 < report.ratio < 1.005
    assert report.bank_kernels == report.bank_kernels_stored_once == 17
    assert all(task.relative_difference <= TOLERANCE for task in report.tasks.values())
