"""The command line of the exporters, run as users do."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from support.tiny import TASKS, tiny_backbone, tiny_data, tiny_decoder, tiny_model
from support.trained import pretend_training

import rc_keras
import rc_keras.export
from rc_keras.export.images.folder import read_images, read_representative_data
from rc_keras.export.images.generated import generate_images
from rc_keras.export.saved_task_names import saved_task_names
from rc_keras.from_preset import listed_tasks

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exporters need Keras on TensorFlow")
pytest.importorskip("ai_edge_litert")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model = pretend_training(
        rc_keras.build(list(TASKS), tiny_backbone(), tiny_decoder(), image_shape=(32, 32, 3), seed=0)
    )
    path = tmp_path_factory.mktemp("model") / "m.keras"
    model.save(path)
    return path


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for i, size in enumerate([(40, 60), (64, 64), (33, 90)]):
        keras.utils.save_img(folder / f"{i}.png", generator.integers(0, 256, (*size, 3)), scale=False)
    return folder


def run(*arguments):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [sys.executable, "-m", "rc_keras.export", *map(str, arguments)], capture_output=True, text=True, env=environment
    )


@pytest.mark.slow
def test_a_saved_model_in_eight_bits_from_a_folder_of_pictures(saved, pictures, tmp_path):
    images = np.concatenate(generate_images((32, 32, 3)))
    np.savez(tmp_path / "examples.npz", images=images, depth=tiny_data(2)[1]["depth"])
    for i, image in enumerate(images):
        keras.utils.save_img(pictures / f"{i}.png", image, scale=False)
    out = tmp_path / "m.tflite"
    arguments = ["--model", saved, "--out", out, "--tasks", "depth,semseg", "--quantize", "int8"]
    arguments += ["--license", "CC0-1.0", "--model_version", 3]
    done = run(*arguments, "--representative_data", pictures, "--examples", tmp_path / "examples.npz")
    assert done.returncode == 0, done.stderr
    description = json.loads((tmp_path / "m.tflite.description.json").read_text())
    assert (description["license"], description["model_version"], description["precision"]) == ("CC0-1.0", 3, "int8")
    report = json.loads((tmp_path / "m.tflite.report.json").read_text())
    assert report["precision"] == "int8" and list(report["tasks"]) == ["depth", "semseg"]
    assert report["tasks"]["depth"]["metric"]["name"] == "rmse"
    assert (tmp_path / "m.tflite.sizes.png").read_bytes().startswith(b"\x89PNG")
    assert "semseg 0/3" in done.stdout and "rmse of the model" in done.stdout
    with rc_keras.export.runtime.load(out) as network:
        assert network.tasks == ["depth", "semseg"]


@pytest.mark.slow
def test_a_preset(saved, tmp_path):
    keras.saving.load_model(saved).save_to_preset(tmp_path / "preset")
    done = run(
        "--preset", tmp_path / "preset", "--tasks", "edge", "--format", "tf_saved_model", "--out", tmp_path / "m"
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m" / "report.json").exists() and (tmp_path / "m.sizes.png").exists()


@pytest.mark.slow
def test_packs_on_a_bank(tmp_path):
    model = rc_keras.build(["edge", "saliency"], decoder=tiny_decoder(), image_shape=(64, 64, 3), seed=0)
    model.bank.save(tmp_path / "bank.safetensors")
    packs = [tmp_path / f"{name}.rctask" for name in model.tasks]
    for name, pack in zip(model.tasks, packs, strict=True):
        model.save_task(name, pack)
    arguments = ["--packs", ",".join(map(str, packs)), "--image_shape", "64,64", "--out", tmp_path / "m.tflite"]
    done = run("--bank", tmp_path / "bank.safetensors", *arguments)
    assert done.returncode == 0, done.stderr
    with rc_keras.export.runtime.load(tmp_path / "m.tflite") as network:
        image = np.zeros((64, 64, 3), "uint8")
        expected = 1 / (1 + np.exp(-keras.ops.convert_to_numpy(model(image[None])["edge"])))
        np.testing.assert_allclose(network.run(image, "edge"), expected[0], atol=1e-4)


@pytest.mark.slow
def test_failures_are_one_line_and_leave_nothing(saved, tmp_path):
    done = run("--model", saved, "--out", tmp_path / "m.tflite", "--quantize", "int4")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ValueError: `quantize` must be one of")
    done = run("--out", tmp_path / "m.tflite")
    assert done.returncode == 1 and "One of --model, --preset and --bank must be given" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_target_is_checked_before_the_model_is_loaded(tmp_path):
    """And a model that is not there would be told next."""
    (tmp_path / "there.tflite").touch()
    done = run("--model", tmp_path / "missing.keras", "--out", tmp_path / "there.tflite")
    assert done.returncode == 1 and "FileExistsError: `path` must be free" in done.stderr


@pytest.mark.parametrize(
    ("target", "format", "error", "message"),
    [
        ("there.tflite", None, FileExistsError, "must be free unless `overwrite=True`"),
        ("missing/m.tflite", None, FileNotFoundError, "The folder of `path` must exist"),
        ("m.tflit", None, ValueError, "`suffix` must be one of"),
        ("m", "onx", ValueError, "`format` must be one of.*Did you mean 'onnx'"),
        ("m.pb", "litert", ValueError, "`path` must end in '.tflite'"),
        ("m.onnx", None, ValueError, "must be the name of a folder for ONNX.*format='onnx'"),
        ("m.onnx", "onnx", ValueError, "must be the name of a folder.*Did you mean 'm'"),
        ("m.tflite", "tf_saved_model", ValueError, "must be the name of a folder.*Did you mean 'm'"),
        ("there.tflite", "onnx", NotADirectoryError, "must be a folder"),
        ("other", "tf_saved_model", FileExistsError, "must be free unless"),
        ("onnx", "onnx", FileExistsError, "must not hold edge.onnx unless `overwrite=True`"),
        ("/dev/shm", "onnx", OSError, "where a disk is mounted"),
    ],
)
def test_targets_that_cannot_be_written(tmp_path, target, format, error, message):
    if target.startswith("/") and not os.path.ismount(target):
        pytest.skip("needs a place where a disk is mounted")
    (tmp_path / "there.tflite").touch()
    for name in ("other", "onnx"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "edge.onnx").touch()
    with pytest.raises(error, match=message):
        rc_keras.export.check_target(tmp_path / target, format, ["depth", "edge"])


def test_targets_that_can_be_written(tmp_path):
    (tmp_path / "there.tflite").touch()
    (tmp_path / "m.onnx").mkdir()
    (tmp_path / "link").symlink_to("m.onnx")
    for target, format, overwrite in (
        ("there.tflite", None, True),
        ("m.tflite", None, False),
        ("new", "onnx", False),
        ("m.onnx", "onnx", False),  # a folder that is there, whatever its name
        ("link", "onnx", False),
        ("new.v2", "tf_saved_model", False),
    ):
        rc_keras.export.check_target(tmp_path / target, format, ["edge"], overwrite)
    (tmp_path / "m.onnx" / "mine").touch()
    with pytest.raises(FileExistsError, match="with other files"):
        rc_keras.export.check_target(tmp_path / "m.onnx", "tf_saved_model", overwrite=True)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_writable(tmp_path):
    tmp_path.chmod(0o500)
    for target, format in ((tmp_path / "m.tflite", None), (tmp_path, "onnx")):
        with pytest.raises(PermissionError, match="must be writable"):
            rc_keras.export.check_target(target, format)


def test_names_of_tasks_are_known_before_a_model_is_loaded(saved, tmp_path):
    assert saved_task_names(saved) == [task.name for task in TASKS]
    keras.Sequential([keras.Input((1,))]).save(tmp_path / "other.keras")
    for path in ("other.keras", "missing.keras", "."):
        assert saved_task_names(tmp_path / path) is None
    tiny_model(TASKS[1:3]).save_to_preset(tmp_path / "preset")
    assert listed_tasks(tmp_path / "preset") == ["edge", "normals"]
    with pytest.raises(FileNotFoundError, match="must be a preset"):
        listed_tasks(tmp_path)


def test_an_option_of_another_format_is_refused(saved, tmp_path):
    model = keras.saving.load_model(saved)
    with pytest.raises(ValueError, match="option of tf_saved_model"):
        model.export(tmp_path / "folder", format="tf_saved_model", quantize="int8")
    with pytest.raises(ValueError, match="Did you mean 'overwrite'"):
        model.export(tmp_path / "m.tflite", overwite=True)


def test_pictures_are_cut_and_resized_to_the_shape(pictures):
    images = read_images(pictures, (32, 32, 3), 10)
    assert [image.shape for image in images] == [(32, 32, 3)] * 3 and images[0].dtype == np.uint8
    assert [image.shape[:2] for image in read_images(pictures, (None, None, 3), 10)] == [(40, 60), (64, 64), (33, 90)]
    assert len(read_images(pictures, (32, 32, 3), 2)) == 2
    half = np.zeros((20, 80, 3), "uint8")
    half[:, 30:50] = 200  # the centred square
    keras.utils.save_img(pictures / "half.png", half, scale=False)
    np.testing.assert_array_equal(read_images(pictures, (8, 8, 3), 10)[-1], 200)


def test_each_task_can_have_its_own_pictures(pictures, tmp_path):
    root = tmp_path / "own"
    root.mkdir()
    os.rename(pictures, root / "edge")
    with pytest.raises(ValueError, match="none for \\['depth'\\]"):
        read_representative_data(root, ["edge", "depth"], (32, 32, 3), 10)
    assert list(read_representative_data(root, ["edge"], (32, 32, 3), 10)) == ["edge"]


def test_folders_without_pictures(tmp_path):
    with pytest.raises(ValueError, match="must be a folder"):
        read_images(tmp_path / "missing", (32, 32, 3), 1)
    with pytest.raises(ValueError, match="Received: none in"):
        read_images(tmp_path, (32, 32, 3), 1)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG but not really")
    with pytest.raises(ValueError, match="broken.png` must be a JPEG or PNG"):
        read_images(tmp_path, (32, 32, 3), 1)


@pytest.mark.slow
def test_a_page_beside_the_files(saved, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")  # nothing is there: the page will ask a CDN
    done = run("--model", saved, "--tasks", "depth", "--out", tmp_path / "m.tflite", "--viewer")
    assert done.returncode == 0, done.stderr
    assert "Not fetched" in done.stdout and f"Page: {tmp_path / 'm.tflite.viewer' / 'index.html'}." in done.stdout
    page = (tmp_path / "m.tflite.viewer" / "index.html").read_text(encoding="utf-8")
    assert 'data-model="../m.tflite"' in page and "https://cdn.jsdelivr.net/npm/@litertjs/core@" in page
    done = run("--model", saved, "--format", "tf_saved_model", "--out", tmp_path / "m", "--viewer")
    assert done.returncode == 1 and "`--viewer` must be for litert or onnx" in done.stderr
    assert not (tmp_path / "m").exists()
