"""Files of version 0.1.0 load, and answer what they answered then.

They hold six tasks on the smallest network of the tests, trained for two steps, and one file for each kind of adapter.
"""

import os

import keras
import numpy as np
import pytest
from support.folders import TESTS
from support.tiny import arrays, tiny_data, tiny_model

import rc_keras
from rc_keras.tasks.task import Task

FOLDER = TESTS / "files_of_0_1"
ANSWERS = 1e-5  # of the largest answer: another processor
TASKS = ["semseg", "edge", "normals", "depth", "saliency", "place"]
METHODS = sorted(path.stem for path in FOLDER.glob("*.keras") if path.stem not in ("model", "deeplab"))
on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exported files run on TensorFlow")


@pytest.fixture(scope="module")
def kept():
    """`{"images": …, name of a task, or method/task: its answers, every fourth pixel}`."""
    with np.load(FOLDER / "answers.npz") as file:
        return dict(file)


def check(answers, kept, prefix=""):
    assert answers
    for name, answer in arrays(answers).items():
        answer = answer[:, ::4, ::4] if answer.ndim == 4 else answer
        expected = kept[prefix + name]
        np.testing.assert_allclose(answer, expected, rtol=0, atol=ANSWERS * np.abs(expected).max(), err_msg=name)


def test_model(kept):
    model = keras.saving.load_model(FOLDER / "model.keras")
    assert model.tasks == TASKS and model.task("place").class_names == ("a", "b", "c")
    check(model.predict(kept["images"], verbose=0), kept)
    steps = {name: model.optimizer.of(name, model.branch(name).trainable_variables).iterations for name in TASKS}
    assert {name: int(count) for name, count in steps.items()} == dict.fromkeys(TASKS, 2)
    images, labels = tiny_data(2)
    model.trainable_tasks = ["depth"]
    model.fit(images, {"depth": labels["depth"]}, verbose=0)
    assert int(steps["depth"]) == 3


def test_weights(kept):
    model = keras.saving.load_model(FOLDER / "model.keras", compile=False)
    other = type(model).from_config(model.get_config())
    other.load_weights(FOLDER / "model.weights.h5")
    check(other.predict(kept["images"], verbose=0), kept)


def test_deeplab(kept):
    model = keras.saving.load_model(FOLDER / "deeplab.keras")
    check(model.predict(kept["images"], verbose=0), kept, "deeplab/")


@pytest.mark.parametrize("method", METHODS)
def test_methods(method, kept):
    model = keras.saving.load_model(FOLDER / f"{method}.keras")
    assert model.bank.method.name.partition("(")[0] == method
    check(model.predict(kept["images"], verbose=0), kept, f"{method}/")


def test_preset(kept):
    check(rc_keras.from_preset(FOLDER / "preset").predict(kept["images"], verbose=0), kept)


def test_bank_and_pack(kept):
    model = tiny_model([Task("semseg", 5, "segmentation")], bank=FOLDER / "bank.safetensors")
    model.load_task(FOLDER / "depth.rctask")
    check({"depth": model.predict(kept["images"], verbose=0)["depth"]}, kept)


@on_tensorflow
@pytest.mark.parametrize("name", ["model.tflite", "onnx", "saved_model"])
def test_exported(name, kept):
    tasks = ["edge"] if name == "saved_model" else ["edge", "depth"]
    with rc_keras.export.runtime.load(os.fspath(FOLDER / name)) as network:
        assert sorted(network.tasks) == sorted(tasks)
        for task in tasks:
            answers = np.concatenate([network.run(image[None].astype("float32"), task) for image in kept["images"]])
            raw = np.log(answers / (1 - answers)) if task == "edge" else answers
            np.testing.assert_allclose(
                raw[:, ::4, ::4], kept[task], rtol=0, atol=1e-4 * np.abs(kept[task]).max(), err_msg=task
            )
