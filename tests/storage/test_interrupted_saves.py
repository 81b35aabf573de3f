"""Whatever is saved or exported is old or new at every step of its writer, and never anything else."""

import json
import os
import zipfile

import keras
import numpy as np
import pytest
from support.killed_writer import contents, states
from support.tiny import TASKS, arrays, assert_same_bits, micro_backbone, tiny_data, tiny_model
from support.trained import pretend_training

import rc_keras
from rc_keras.files import manifest
from rc_keras.files.folder_update import stored_path
from rc_keras.zoo.strategy import Strategy
from rc_keras.zoo.training.checkpoints import Checkpoints

on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exporters need Keras on TensorFlow")


@pytest.fixture(scope="module")
def old():
    return pretend_training(tiny_model(TASKS[:2]))


@pytest.fixture(scope="module")
def new(old):
    """Other weights, and a task more."""
    return pretend_training(tiny_model(TASKS[:3], bank=old.bank, backbone=micro_backbone(seed=99)), seed=1)


@pytest.fixture
def box(tmp_path):
    (tmp_path / "box").mkdir()
    return tmp_path / "box"


def outcomes(write, box, tmp_path, read):
    """What `read` finds in each of the states."""
    return [read(state) for state in states(write, box, tmp_path)]


def assert_old_then_new(found, old, new):
    """One step leads from the old to the new."""
    first = found.index(new)
    assert first > 0 and found == [old] * first + [new] * (len(found) - first)


def predict(model):
    return arrays(model.predict(tiny_data(2)[0], verbose=0))


# Files


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("edge.rctask", lambda model, path: model.save_task("edge", path)),
        ("bank.safetensors", lambda model, path: model.bank.save(path)),
    ],
)
def test_packs_and_banks(name, save, old, new, box, tmp_path):
    other = new if name.endswith("rctask") else tiny_model(TASKS[:1], backbone=micro_backbone(seed=3))
    save(old, box / name)
    save(other, tmp_path / name)
    before, after = (box / name).read_bytes(), (tmp_path / name).read_bytes()
    found = outcomes(lambda: save(other, box / name), box, tmp_path, lambda state: (state / name).read_bytes())
    assert_old_then_new(found, before, after)


def test_whole_models(old, new, box, tmp_path):
    def read(state):
        with zipfile.ZipFile(state / "model.keras") as archive:
            assert archive.testzip() is None
            return [task["config"]["name"] for task in json.loads(archive.read("config.json"))["config"]["tasks"]]

    old.save(box / "model.keras")
    found = outcomes(lambda: new.save(box / "model.keras"), box, tmp_path, read)
    assert_old_then_new(found, old.tasks, new.tasks)
    assert list(box.iterdir()) == [box / "model.keras"]


def test_checkpoints_of_a_run(old, box, tmp_path):
    """The last one counts, which must be whole."""
    model = tiny_model(TASKS[:2])
    model.compile("sgd")
    checkpoints = Checkpoints(box, Strategy(), keep=1)
    checkpoints.save(model, 1)
    edge = model.branch("edge").get_layer("edge__decoder_head").bias

    def read(state):
        kept = Checkpoints(state, Strategy())
        assert not list(state.glob(".*"))
        loaded = kept.load(kept.steps()[-1], ["semseg", "edge"], (32, 32, 3))
        return float(np.ravel(loaded.branch("edge").get_layer("edge__decoder_head").bias)[0])

    before = float(np.ravel(edge)[0])
    edge.assign([7.0])
    assert_old_then_new(outcomes(lambda: checkpoints.save(model, 2), box, tmp_path, read), before, 7.0)


# Presets


def stored(state):
    """The bytes that `from_preset` reads."""
    folder = str(state / "preset")
    files = manifest.read(folder)
    if files is None:
        return None
    found = {}
    for name in files:
        with open(stored_path(folder, files, name), "rb") as file:
            found[name] = file.read()
    return found


def saved(model, folder):
    model.save_to_preset(folder / "preset")
    return stored(folder)


def test_new_preset(new, box, tmp_path):
    after = saved(new, tmp_path)
    found = outcomes(lambda: new.save_to_preset(box / "preset"), box, tmp_path, stored)
    assert_old_then_new(found, None, after)
    assert contents(box / "preset") == contents(tmp_path / "preset")


def test_preset_saved_over(old, new, box, tmp_path):
    before, after = saved(old, box), saved(new, tmp_path)
    copies = states(lambda: new.save_to_preset(box / "preset"), box, tmp_path)
    found = [stored(state) for state in copies]
    assert_old_then_new(found, before, after)
    first = found.index(after)
    for state, model in ((first - 1, old), (first, new), (first + 2, new)):
        loaded = rc_keras.from_preset(copies[state] / "preset")
        assert loaded.tasks == model.tasks
        assert_same_bits(predict(loaded), predict(model))
    # The next writer ends with what it writes, whatever it finds.
    for state in copies[first - 2 : first + 3]:
        old.save_to_preset(state / "preset")
        assert stored(state) == before and ".new" not in os.listdir(state / "preset")


def test_preset_of_a_version_before_manifests_saved_over(old, new, box, tmp_path):
    saved(old, box)
    (box / "preset" / "manifest.json").unlink()
    config = json.loads((box / "preset" / "config.json").read_text())
    del config["manifest"]
    (box / "preset" / "config.json").write_text(json.dumps(config))
    before, after = contents(box / "preset"), saved(new, tmp_path)

    def read(state):
        found = contents(state / "preset")
        assert stored(state) is not None or {name: found[name] for name in before} == before
        return stored(state)

    assert_old_then_new(outcomes(lambda: new.save_to_preset(box / "preset"), box, tmp_path, read), None, after)


@pytest.mark.slow
def test_every_state_of_a_preset_loads(old, new, box, tmp_path):
    expected = {2: predict(old), 3: predict(new)}
    saved(old, box)
    for state in states(lambda: new.save_to_preset(box / "preset"), box, tmp_path):
        loaded = rc_keras.from_preset(state / "preset")
        assert_same_bits(predict(loaded), expected[len(loaded.tasks)])


# Exports


def image():
    return np.random.default_rng(5).integers(0, 256, (32, 32, 3)).astype("float32")


def answers(state):
    """Of all tasks, opened as a user does."""
    path = next(path for path in sorted(state.iterdir()) if not path.name.startswith(".") and path.suffix != ".json")
    with rc_keras.export.runtime.load(path) as network:
        return {task: network.run(image(), task).tobytes() for task in network.tasks}


def export(model, path, **options):
    return model.export(path, images=image()[None], verbose=False, overwrite=True, **options)


@on_tensorflow
def test_litert(old, new, box, tmp_path):
    pytest.importorskip("ai_edge_litert")
    export(old, box / "m.tflite")
    before = (box / "m.tflite").read_bytes()
    reports = []

    def read(state):
        reports.append((state / "m.tflite.report.json").read_bytes())
        return (state / "m.tflite").read_bytes()

    found = outcomes(lambda: export(new, box / "m.tflite"), box, tmp_path, read)
    assert_old_then_new(found, before, found[-1])
    assert list(json.loads(reports[-1])["tasks"]) == new.tasks
    assert reports.index(reports[-1]) > found.index(found[-1])  # it describes the file that is there


@pytest.mark.slow
@on_tensorflow
def test_onnx_folder(old, new, box, tmp_path):
    pytest.importorskip("tf2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    export(old, box / "m", format="onnx")

    def read(state):
        """Graphs and weights, and whether onnxruntime by itself can open them."""
        for path in sorted((state / "m").glob("*.onnx")):
            onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        rc_keras.export.runtime.load(state / "m").close()
        return {path.name: path.read_bytes() for path in (state / "m").iterdir() if path.suffix != ".json"}

    before = read(box)
    found = outcomes(lambda: export(new, box / "m", format="onnx"), box, tmp_path, read)
    assert_old_then_new(found, before, found[-1])
    assert set(found[-1]) - set(before) == {"normals.onnx", "normals.bin"}


@on_tensorflow
def test_saved_model(old, new, box, tmp_path):
    """The folder is old or new for plain TensorFlow, which knows no manifest."""
    export(old, box / "m", format="tf_saved_model")
    copies = []

    def read(state):
        copies.append(state)
        found = contents(state / "m")
        assert json.loads(found["report.json"])["path"] == str(box / "m")
        del found["report.json"]
        return found

    before = read(box)
    found = outcomes(lambda: export(new, box / "m", format="tf_saved_model"), box, tmp_path, read)
    assert_old_then_new(found, before, found[-1])
    first = found.index(found[-1])
    expected = [answers(copies[index + 1]) for index in (0, -2, first - 1, first)]
    assert list(expected[0]) == old.tasks and list(expected[1]) == new.tasks
    assert expected[2:] == expected[:2]


@on_tensorflow
@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "tf_saved_model", "litert"])
def test_every_state_of_an_export_answers(format, old, new, box, tmp_path):
    name = "m.tflite" if format == "litert" else "m"
    export(old, box / name, format=format)
    before = answers(box)
    found = outcomes(lambda: export(new, box / name, format=format), box, tmp_path, answers)
    assert_old_then_new(found, before, answers(box))
