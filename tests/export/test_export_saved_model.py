"""A SavedModel computes what the model computes, in plain TensorFlow, with the bank in it once."""

import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.tiny import TASKS, tiny_backbone, tiny_decoder
from support.trained import pretend_training

import rc_keras
import rc_keras.export
from rc_keras.export import runtime
from rc_keras.export.formats.saved_model import exporter
from rc_keras.export.stages import compare
from rc_keras.export.stages import run as stages
from rc_keras.files import whole_folder

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exporters need Keras on TensorFlow")

TOLERANCE = 1e-4  # largest difference from the model, of the range of its output
KINDS = (*TASKS, rc_keras.Task("scene", 4, "classification"))


@pytest.fixture(scope="module")
def model():
    return pretend_training(
        rc_keras.build(list(KINDS), tiny_backbone(), tiny_decoder(), image_shape=(32, 32, 3), seed=0)
    )


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "model"
    return path, rc_keras.export.saved_model(model, path, verbose=False)


def images(n=3, height=32, width=32):
    return np.random.default_rng(5).integers(0, 256, (n, height, width, 3)).astype("float32")


def expected(model, task, pictures):
    return keras.ops.convert_to_numpy(model.task(task).activate(model(pictures, tasks=[task])[task]))


def assert_close(received, wanted):
    assert received.shape == wanted.shape and np.ptp(wanted) > 1e-2
    np.testing.assert_allclose(received, wanted, rtol=0, atol=TOLERANCE * np.ptp(wanted))


def test_plain_tensorflow_runs_it(exported, model, tmp_path):
    np.save(tmp_path / "images.npy", images())
    program = """
        import sys
        sys.modules["keras"] = sys.modules["rc_keras"] = None
        import numpy as np, tensorflow as tf
        loaded = tf.saved_model.load(sys.argv[1])
        image = tf.constant(np.load(sys.argv[2]))
        out = {name: loaded.signatures[name](image=image)[name].numpy() for name in sys.argv[4:]}
        for name, value in loaded.signatures["all"](image=image).items():
            np.testing.assert_allclose(value, out[name], rtol=1e-6, atol=1e-6)
        np.savez(sys.argv[3], **out)
    """
    arguments = [str(exported[0]), str(tmp_path / "images.npy"), str(tmp_path / "out.npz"), *model.tasks]
    command = [sys.executable, "-c", textwrap.dedent(program), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-3000:]
    received = np.load(tmp_path / "out.npz")
    for task in model.tasks:
        assert_close(received[task], expected(model, task, images()))


def test_report(exported, model):
    path, report = exported
    assert report.passed and report.format == "saved_model"
    assert report.bank_kernels == report.bank_kernels_stored_once == len(model.bank.convolutions)
    ours = ("report.json", "manifest.json", "description.json")
    files = sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and file.name not in ours)
    assert report.file_bytes == files
    saved = json.loads((path / "report.json").read_text())
    assert saved["tasks"]["semseg"]["shape"] == [1, 32, 32, 5]
    assert not any("BatchNorm" in name for name in report.operators)


def test_runtime(exported, model):
    with runtime.load(exported[0]) as network:
        assert network.tasks == model.tasks
        assert network.metadata["bank_fingerprint"] == model.bank.fingerprint
        for task in model.tasks:
            batch = network.run(images().astype("uint8"), task)
            assert_close(batch, expected(model, task, images()))
            one = network.run(images()[0], task)
            assert one.shape == batch.shape[1:]
        with pytest.raises(ValueError, match="Did you mean 'edge'"):
            network.run(images(), "egde")
        with pytest.raises(ValueError, match="Images must be"):
            network.run(images(height=40), "edge")
    with pytest.raises(RuntimeError, match="closed"):
        network.run(images(), "edge")


def test_free_size_merged_and_class_ids(model, tmp_path):
    path = tmp_path / "m"
    report = model.export(
        path,
        format="tf_saved_model",
        tasks=["semseg"],
        mode="merged",
        image_shape=(None, None, 3),
        segmentation="class_ids",
        verbose=False,
    )
    assert report.bank_kernels == 0
    with runtime.load(path) as network:
        assert network.run(images(2, 40, 56), "semseg").shape == (2, 40, 56)
        np.testing.assert_array_equal(network.run(images(), "semseg"), expected(model, "semseg", images()).argmax(-1))


@pytest.mark.slow
def test_overwriting(model, tmp_path, monkeypatch):
    path = tmp_path / "m"
    path.mkdir()
    (path / "before").write_text("before")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        rc_keras.export.saved_model(model, path, tasks=["edge"])
    with pytest.raises(FileExistsError, match="with other files"):
        rc_keras.export.saved_model(model, path, tasks=["edge"], overwrite=True)
    assert (path / "before").read_text() == "before"
    (path / "before").unlink()
    for tasks in (["edge"], ["depth"]):
        rc_keras.export.saved_model(model, path, tasks=tasks, overwrite=True, verbose=False)
        assert list(runtime.load(path).metadata["tasks"]) == tasks
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]

    def fail(one, other):
        raise OSError("No")

    monkeypatch.setattr(whole_folder, "_exchange", fail)
    with pytest.raises(OSError, match="No"):
        rc_keras.export.saved_model(model, path, tasks=["edge"], overwrite=True, verbose=False)
    assert runtime.load(path).tasks == ["depth"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.index", "assets.extra/rc_keras.json"])
def test_files_other_than_the_manifest_lists_are_named(exported, tmp_path, name):
    for damage in (lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes() + b"\0")):
        folder = Path(shutil.copytree(exported[0], tmp_path / "m"))
        damage(folder / name)
        with pytest.raises(ValueError, match=f"{name} (must be the file that|is missing:) the manifest"):
            runtime.load(folder, runtime="saved_model")
        shutil.rmtree(folder)


def test_folders_of_versions_before_manifests(exported, tmp_path):
    folder = Path(shutil.copytree(exported[0], tmp_path / "m"))
    (folder / "manifest.json").unlink()
    assert runtime.load(folder).tasks == [task.name for task in KINDS]


def test_a_folder_moved_away_by_a_killed_writer_is_found(exported, tmp_path):
    """As on systems that cannot exchange two folders in one step."""
    shutil.copytree(exported[0], tmp_path / ".m.rc_keras-former")
    assert runtime.load(tmp_path / "m").tasks == [task.name for task in KINDS]
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]


def test_a_folder_that_another_exporter_made_meanwhile_is_not_replaced(model, tmp_path, monkeypatch):
    def meanwhile(*args, **kwargs):
        (tmp_path / "m").mkdir(exist_ok=True)
        (tmp_path / "m" / "mine").touch()
        return real(*args, **kwargs)

    real = stages.check_request
    monkeypatch.setattr(stages, "check_request", meanwhile)
    with pytest.raises(FileExistsError, match="must be free"):
        rc_keras.export.saved_model(model, tmp_path / "m", tasks=["edge"], verbose=False)
    assert (tmp_path / "m" / "mine").exists()


def test_batch_size(model, tmp_path):
    for batch_size in (0, "4", True):
        with pytest.raises(ValueError, match="`batch_size` must be a positive integer"):
            rc_keras.export.saved_model(model, tmp_path / "m", batch_size=batch_size)
    rc_keras.export.saved_model(model, tmp_path / "m", tasks=["depth"], batch_size=3, verbose=False)
    signature = tf.saved_model.load(str(tmp_path / "m")).signatures["depth"]
    assert signature.structured_input_signature[1]["image"].shape == (3, 32, 32, 3)


def test_all_must_answer_what_the_tasks_do(model, tmp_path, monkeypatch):
    def off(signature, image, batch_size):
        answers = run(signature, image, batch_size)
        return {name: answer + (len(answers) > 1) for name, answer in answers.items()}

    run = exporter._run
    monkeypatch.setattr(exporter, "_run", off)
    with pytest.raises(rc_keras.export.ExportError, match="The signature 'all' must answer"):
        rc_keras.export.saved_model(model, tmp_path / "m", tasks=["depth", "edge"], verbose=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module, stage", [(exporter.SavedModel, "write"), (compare, "compare")])
def test_an_interruption_leaves_nothing(model, tmp_path, monkeypatch, module, stage):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, stage, interrupt)
    with pytest.raises(KeyboardInterrupt):
        rc_keras.export.saved_model(model, tmp_path / "m", tasks=["edge"], verbose=False)
    assert list(tmp_path.iterdir()) == []


def test_foreign_folders_are_refused(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="must be a folder that rc_keras.export.saved_model wrote"):
        runtime.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="exported file or folder"):
        runtime.load(tmp_path / "missing")
    with pytest.raises(ValueError, match="`path` must be a .tflite file"):
        runtime.load(__file__)


def test_a_full_disk_leaves_nothing(model, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(OSError, match="must be writable. Received: No space left"):
        rc_keras.export.saved_model(model, tmp_path / "m", tasks=["edge"], verbose=False)
    assert list(tmp_path.iterdir()) == []
