"""Models as folders."""

import json
import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from support.other_backends import run
from support.tiny import (
    TASKS,
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
from rc_keras.files import safetensors_file
from rc_keras.files.folder_update import FolderUpdate
from rc_keras.storage import task_pack

BACKENDS_DIFFER = 1e-4  # of the output's range, between backends

BANK = Path("bank", "bank.safetensors")
EDGE, SEMSEG, DEPTH = (Path("tasks", name, "task.rctask") for name in ("edge", "semseg", "depth"))
TEXTS = [Path("README.md"), Path("config.json"), Path("manifest.json"), Path("metadata.json")]


def predict(model):
    return arrays(model.predict(tiny_data(2)[0], verbose=0))


def files(folder):
    """`{relative path: bytes}` of everything in a folder."""
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def times(folder):
    return {path: (folder / path).stat().st_mtime_ns for path in files(folder)}


@pytest.fixture(scope="module")
def model():
    """Three tasks; tests must leave it as it is."""
    model = pretend_training(tiny_model(TASKS[:3]))
    model.branch("edge").get_layer("edge__low_norm").trainable = False
    model.trainable_tasks = ["edge", "normals"]
    return model


@pytest.fixture(scope="module")
def predictions(model):
    return predict(model)


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("preset") / "saved"
    model.save_to_preset(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A preset of one's own to spoil."""
    return Path(shutil.copytree(saved, tmp_path / "preset"))


def test_folder_holds_what_is_promised(saved):
    assert list(files(saved)) == sorted([*TEXTS, BANK, EDGE, SEMSEG, Path("tasks", "normals", "task.rctask")])


def test_loaded_model_is_the_saved_one(model, predictions, saved):
    loaded = rc_keras.from_preset(saved)
    assert loaded.tasks == model.tasks and loaded.trainable_tasks == model.trainable_tasks
    assert [loaded.task(name) for name in loaded.tasks] == [model.task(name) for name in model.tasks]
    assert loaded.bank.fingerprint == model.bank.fingerprint and loaded.bank.method == model.bank.method
    assert [v.path for v in loaded.trainable_variables] == [v.path for v in model.trainable_variables]
    assert_same_bits(predict(loaded), predictions)


@pytest.mark.parametrize("method", ["rcm", "single_task"])
def test_network_with_aspp_and_a_task_added_later(method, tmp_path):
    arguments = {"method": method, "backbone": tiny_backbone(), "decoder": tiny_decoder()}
    model = pretend_training(tiny_model([TASKS[0], rc_keras.Task("scene", 4, "classification")], **arguments))
    model.save_to_preset(tmp_path)
    loaded = rc_keras.from_preset(tmp_path)
    assert_same_bits(predict(loaded), predict(model))
    for each in (model, loaded):
        each.add_task("depth")
    assert_same_bits(state(loaded.branch("depth")), state(model.branch("depth")))  # also new tasks start the same


def test_subset_reads_the_packs_of_its_tasks_alone(model, predictions, folder):
    (folder / SEMSEG).write_bytes(b"spoiled")
    loaded = rc_keras.from_preset(folder, tasks=["normals", "edge"])
    assert loaded.tasks == ["normals", "edge"] and loaded.trainable_tasks == ["normals", "edge"]
    assert not loaded.branch("edge").get_layer("edge__low_norm").trainable
    assert_same_bits(predict(loaded), {name: predictions[name] for name in ("normals", "edge")})
    assert rc_keras.from_preset(folder, tasks=("normals",)).trainable_tasks == ["normals"]


def test_saved_twice_is_equal_bytes_and_nothing_is_rewritten(model, saved, folder, tmp_path):
    before = times(folder)
    model.save_to_preset(folder)
    assert times(folder) == before and files(folder) == files(saved)
    rc_keras.from_preset(folder).save_to_preset(tmp_path / "again")
    assert files(tmp_path / "again") == files(saved)


def test_bank_of_another_version_is_not_rewritten(model, tmp_path, monkeypatch):
    monkeypatch.setattr(safetensors_file, "__version__", "0.0.1")
    model.save_to_preset(tmp_path)
    monkeypatch.undo()
    before = times(tmp_path)[BANK]
    model.save_to_preset(tmp_path)
    assert times(tmp_path)[BANK] == before


def test_saving_again_writes_what_changed(folder):
    before, old = times(folder), files(folder)
    model = rc_keras.from_preset(folder)
    model.add_task(TASKS[3])
    model.branch("edge").get_layer("edge__decoder_head").bias.assign([2.0])
    model.save_to_preset(folder)
    after = times(folder)
    assert {path for path in after if after[path] != before.get(path)} == {*TEXTS, EDGE, DEPTH}
    assert files(folder)[BANK] == old[BANK]
    assert_same_bits(predict(rc_keras.from_preset(folder)), predict(model))


def test_tasks_the_model_lacks_stay_and_can_be_asked_for(predictions, folder):
    pack = (folder / SEMSEG).read_bytes()
    model = rc_keras.from_preset(folder, tasks=["edge"])
    model.save_to_preset(folder)
    assert (folder / SEMSEG).read_bytes() == pack
    assert rc_keras.from_preset(folder).tasks == ["edge"]
    assert "semseg" not in (folder / "README.md").read_text()
    both = rc_keras.from_preset(folder, tasks=["edge", "semseg"])
    assert_same_bits(predict(both), {name: predictions[name] for name in ("edge", "semseg")})


def test_pack_copied_into_the_folder(model, folder):
    other = tiny_model(TASKS[3:], bank=model.bank)
    (folder / DEPTH).parent.mkdir()
    other.save_task("depth", folder / DEPTH)
    assert_same_bits(predict(rc_keras.from_preset(folder, tasks=["depth"])), predict(other))


def test_texts(model, saved):
    metadata = json.loads((saved / "metadata.json").read_text())
    report = model.parameter_report()
    assert metadata["fingerprint"] == model.bank.fingerprint and metadata["keras"] == keras.__version__
    assert metadata["parameters"]["bank"] == report.bank and metadata["parameters"]["total"] == report.total
    assert metadata["parameters"]["tasks"]["edge"]["total"] == report.tasks["edge"].total
    card = (saved / "README.md").read_text()
    for name in model.tasks:
        assert f"| `{name}` | {model.task(name).kind} | {model.task(name).channels} |" in card
    assert f"{report.total:,}" in card and model.bank.fingerprint in card and "from_preset" in card


def test_card_lists_classes(tmp_path):
    tiny_model([rc_keras.Task("trees", 2, "segmentation", class_names=["other\n# x", "tree"])]).save_to_preset(tmp_path)
    assert "- `trees`: other # x, tree\n" in (tmp_path / "README.md").read_text()


def test_what_people_write_around_the_card_stays(model, folder):
    card = (folder / "README.md").read_text()
    (folder / "README.md").write_text("Street scenes.\n" + card.replace("| edge |", "| gone |") + "MIT.\n")
    model.save_to_preset(folder)
    assert (folder / "README.md").read_text() == "Street scenes.\n" + card + "MIT.\n"
    (folder / "README.md").write_bytes(b"My own, in latin-1: \xe9.\r\n")
    model.save_to_preset(folder)
    assert (folder / "README.md").read_bytes() == b"My own, in latin-1: \xe9.\r\n"


def test_precision_of_a_preset_is_its_own(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = tiny_model(TASKS[:2])
        model.save_to_preset(tmp_path)
        before = predict(model)
    finally:
        keras.config.set_dtype_policy("float32")
    assert_same_bits(predict(rc_keras.from_preset(tmp_path)), before)


# What is refused when saving


@pytest.mark.parametrize("without", [None, "config.json", str(BANK)])
def test_folder_of_another_bank_is_left_alone(without, folder):
    if without:
        (folder / without).unlink()
    before = files(folder)
    other = tiny_model(TASKS[:1], backbone=micro_backbone(seed=7))
    with pytest.raises(ValueError, match=f"must belong to the bank .*{other.bank.fingerprint}.*Received: "):
        other.save_to_preset(folder)
    assert files(folder) == before


def test_other_start_of_new_tasks_is_another_bank(tmp_path):
    """Without shared kernels all fingerprints are the same, but what new tasks start from differs."""
    tiny_model(TASKS[:1], method="single_task").save_to_preset(tmp_path)
    other = tiny_model(TASKS[:1], method="single_task", backbone=micro_backbone(seed=7))
    with pytest.raises(ValueError, match=r"config\.json must belong to the bank"):
        other.save_to_preset(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "metadata.json"])
def test_files_of_something_else_are_not_overwritten(name, model, tmp_path):
    (tmp_path / name).write_text('{"format": "other"}')
    with pytest.raises(ValueError, match=f"{name} must have the format 'rc_keras.preset.1'. Received: 'other'"):
        model.save_to_preset(tmp_path)
    assert list(files(tmp_path)) == [Path(name)]


def test_names_that_differ_by_case(tmp_path):
    model = tiny_model([rc_keras.Task("edge", 1, "edge"), rc_keras.Task("Edge", 1, "edge")])
    with pytest.raises(ValueError, match="differ in more than their case"):
        model.save_to_preset(tmp_path / "preset")
    assert not (tmp_path / "preset").exists()


def test_save_that_cannot_write_leaves_the_old_preset(folder, monkeypatch):
    before = files(folder)
    model = pretend_training(rc_keras.from_preset(folder))
    real = task_pack.to_bytes

    def full(model, name, dtype):
        if name == model.tasks[-1]:
            raise OSError(28, "No space left on device")
        return real(model, name, dtype)

    monkeypatch.setattr(task_pack, "to_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        model.save_to_preset(folder)
    assert files(folder) == before


def test_save_to_a_folder_that_cannot_be_written_leaves_none(tmp_path, monkeypatch):
    def full(model, name, dtype):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(task_pack, "to_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        tiny_model(TASKS[:1]).save_to_preset(tmp_path / "preset")
    assert list(tmp_path.iterdir()) == []


def test_a_second_writer_is_told_to_wait(model, folder):
    before = files(folder)
    with FolderUpdate(str(folder)), pytest.raises(BlockingIOError, match="one writer at a time"):
        model.save_to_preset(folder)
    assert files(folder) == before
    model.save_to_preset(folder)


def test_a_linked_folder_is_written_through(model, predictions, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    model.save_to_preset(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / BANK).is_file()
    assert_same_bits(predict(rc_keras.from_preset(tmp_path / "link")), predictions)


def test_nothing_is_written_where_nothing_changed(model, folder, monkeypatch):
    """Not even to a temporary file, and however many tasks there are."""
    opened = []
    real = open

    def watched(file, mode="r", *args, **kwargs):
        if set(mode) & set("wax+"):
            opened.append(file)
        return real(file, mode, *args, **kwargs)

    monkeypatch.setattr("builtins.open", watched)
    model.save_to_preset(folder)
    assert opened == []


# What is refused when loading


CODE = {"class_name": "__lambda__", "config": {"value": ["4wAA", None, None]}}


def _as_before_manifests(folder):
    """The folder as versions before manifests wrote it."""
    (folder / "manifest.json").unlink()
    content = json.loads((folder / "config.json").read_text())
    del content["manifest"]
    (folder / "config.json").write_text(json.dumps(content, indent=1) + "\n")


def _edit(folder, change):
    content = json.loads((folder / "config.json").read_text())
    change(content)
    (folder / "config.json").write_text(json.dumps(content))


def _foreign(folder, save):
    """Saves something of a model with another bank over a file of the preset."""
    save(tiny_model(TASKS[:3], backbone=micro_backbone(seed=7)), folder)


def _hostile_layer(folder, **layer):
    """Puts another class where the first layer behind the image stands."""

    def change(content):
        layers = content["model"]["template"]["config"]["layers"]
        layers[1].update({"registered_name": None, **layer})
        layers[1]["config"] = {**layer["config"], "name": layers[1]["name"]}

    _edit(folder, change)


def _lambda_layer(folder):
    layer = keras.saving.serialize_keras_object(keras.layers.Lambda(lambda x: sys.exit("code in a file was run")))
    _hostile_layer(folder, **layer)


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lambda f: (f / "config.json").unlink(), FileNotFoundError, r"There is no file .*config\.json"),
        (lambda f: (f / BANK).unlink(), FileNotFoundError, r"bank\.safetensors"),
        (lambda f: (f / EDGE).unlink(), FileNotFoundError, r"edge.task\.rctask"),
        (lambda f: (f / "config.json").write_text("{"), ValueError, r"config\.json must be a JSON file"),
        (lambda f: (f / "config.json").write_text("[]"), ValueError, r"config\.json must have the format"),
        (lambda f: (f / "config.json").write_bytes(b"\xff"), ValueError, r"config\.json must be a JSON file"),
        (
            lambda f: _edit(f, lambda c: c.update(format="rc_keras.preset.99")),
            ValueError,
            "preset.1'. Received: '.*99'",
        ),
        (lambda f: _edit(f, lambda c: c.pop("bank")), ValueError, r"bank\.safetensors must belong to the bank None"),
        (lambda f: _edit(f, lambda c: c.pop("tasks")), ValueError, r"config\.json must list"),
        (lambda f: _edit(f, lambda c: c.update(tasks=[])), ValueError, r"config\.json must list .*\[\]"),
        (lambda f: _edit(f, lambda c: c.update(tasks="edge")), ValueError, r"config\.json must list"),
        (lambda f: _edit(f, lambda c: c.update(tasks=[1])), ValueError, r"config\.json must list .*name=1"),
        (lambda f: _edit(f, lambda c: c.update(tasks=["edge", "edge"])), ValueError, "must list different tasks"),
        (lambda f: _edit(f, lambda c: c.update(tasks=["../edge"])), ValueError, r"config\.json .*'\.\./edge'"),
        (lambda f: _edit(f, lambda c: c.update(tasks=["/edge"])), ValueError, r"config\.json .*'/edge'"),
        (lambda f: _edit(f, lambda c: c.pop("model")), ValueError, r"config\.json must hold the config of a model"),
        (lambda f: _edit(f, lambda c: c["model"].update(method="rcmm")), ValueError, r"config\.json .*'rcmm'"),
        (lambda f: _edit(f, lambda c: c["model"].update(frozen_layers={"edge": ["x"]})), ValueError, "what is train"),
        (lambda f: _edit(f, lambda c: c["model"].update(trainable_tasks=1)), ValueError, "what is trainable"),
        (
            lambda f: (f / BANK).write_bytes((f / BANK).read_bytes()[:-8]),
            ValueError,
            r"bank\.safetensors must be a saf",
        ),
        (lambda f: (f / BANK).write_bytes((f / BANK).read_bytes()[:-4] + bytes(4)), ValueError, "bank.* is damaged"),
        (
            lambda f: _foreign(f, lambda model, f: model.bank.save(f / BANK)),
            ValueError,
            r"bank\.safetensors must belong to the bank .* Received: ",
        ),
        (
            lambda f: _foreign(f, lambda model, f: model.save_task("edge", f / EDGE)),
            ValueError,
            r"edge.task\.rctask must belong to a bank with fingerprint",
        ),
        (lambda f: shutil.copy(f / EDGE, f / BANK), ValueError, r"bank\.safetensors must have the format"),
        (
            lambda f: shutil.copy(f / SEMSEG, f / EDGE),
            ValueError,
            "edge.* must hold the task 'edge'. Received: 'semseg'",
        ),
        (lambda f: _hostile_layer(f, class_name="system", module="os", config={}), ValueError, "config.json .*os"),
        (
            lambda f: _hostile_layer(f, class_name="Evil", module="canary", config={}),
            ValueError,
            "config.json .*canary",
        ),
        (_lambda_layer, ValueError, r"config\.json must hold data, not arbitrary code.*__lambda__"),
        (lambda f: _edit(f, lambda c: c["model"].update(note=[CODE])), ValueError, "must hold data.*__lambda__"),
    ],
)
def test_spoiled_presets_are_refused(damage, error, message, folder, monkeypatch):
    """Without a manifest, which would tell what is wrong before anybody looks."""
    _as_before_manifests(folder)
    (folder / "canary.py").write_text("raise SystemExit('a module named in a file was imported')")
    monkeypatch.syspath_prepend(str(folder))
    damage(folder)
    with pytest.raises(error, match=message):
        rc_keras.from_preset(folder)


def test_presets_of_versions_before_manifests(model, predictions, saved, folder):
    _as_before_manifests(folder)
    assert_same_bits(predict(rc_keras.from_preset(folder)), predictions)
    model.save_to_preset(folder)
    assert files(folder) == files(saved)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (name, damage)
        for name in ("config.json", str(BANK), str(EDGE))
        for damage in (
            lambda path: path.write_bytes(path.read_bytes()[:-1]),
            lambda path: path.write_bytes(path.read_bytes().replace(b"norm", b"form", 1)),
            lambda path: path.unlink(),
        )
    ],
)
def test_files_other_than_the_manifest_lists_are_named(name, damage, folder):
    damage(folder / name)
    with pytest.raises(
        (ValueError, FileNotFoundError), match=f"{name} (must be the file that|is missing:) the manifest"
    ):
        rc_keras.from_preset(folder)


def test_a_pack_of_another_saving_is_named(model, folder, tmp_path):
    """It has the right bank and the right task, but is not the one that was saved."""
    other = rc_keras.from_preset(folder)
    other.branch("edge").get_layer("edge__decoder_head").bias.assign([2.0])
    other.save_task("edge", folder / EDGE)
    with pytest.raises(ValueError, match="edge.task.rctask must be the file that the manifest"):
        rc_keras.from_preset(folder)
    assert rc_keras.from_preset(folder, tasks=["normals"]).tasks == ["normals"]
    model.save_to_preset(folder)
    assert rc_keras.from_preset(folder).tasks == model.tasks


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format="rc_keras.manifest.99"), "manifest.99"),
        (lambda m: m.pop("files"), "files"),
        (lambda m: m["files"].pop("config.json"), r"manifest\.json is missing, or not that of"),
        (lambda m: m["files"].update({"../outside": m["files"]["config.json"]}), r"in the folder.*\.\./outside"),
        (lambda m: m["files"].update({"/outside": m["files"]["config.json"]}), "in the folder.*/outside"),
        (lambda m: m["files"]["config.json"].update(sha256="../../x"), "must have `bytes` and a `sha256`"),
        (lambda m: m["files"]["config.json"].update(bytes="9"), "must have `bytes` and a `sha256`"),
    ],
)
def test_spoiled_manifests_are_refused(change, message, model, folder):
    content = json.loads((folder / "manifest.json").read_text())
    change(content)
    (folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        rc_keras.from_preset(folder)


def test_a_missing_manifest_is_told(folder):
    (folder / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"manifest\.json is missing"):
        rc_keras.from_preset(folder)


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (["egde"], r"must be one of \['edge', 'normals', 'semseg'\].*Did you mean 'edge'"),
        (["../tasks/edge"], "must be one of"),
        ([], "at least one"),
        ("edge", "must be a list"),
        (["edge", "edge"], "different names"),
        ([["edge"]], "must be a list of task names"),
    ],
)
def test_tasks_that_cannot_be_loaded(tasks, message, saved):
    with pytest.raises(ValueError, match=message):
        rc_keras.from_preset(saved, tasks=tasks)


def test_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="must be a preset"):
        rc_keras.from_preset(tmp_path / "nothing")


# On other backends

PROGRAM = """
import sys

import numpy as np
from support.tiny import arrays, assert_same_bits, tiny_data

import rc_keras

folder, out = sys.argv[1:]
model = rc_keras.from_preset(folder)
predictions = arrays(model.predict(tiny_data(2)[0], verbose=0))
np.savez(out + "/predictions.npz", **predictions)
model.save_to_preset(folder)
model.save_to_preset(out + "/preset")
loaded = rc_keras.from_preset(out + "/preset")
assert_same_bits(arrays(loaded.predict(tiny_data(2)[0], verbose=0)), predictions)
print("all well")
"""


@pytest.mark.slow
def test_preset_on_another_backend(backend, predictions, saved, folder, tmp_path):
    before = times(folder)
    result = run(["-c", PROGRAM, str(folder), str(tmp_path)], backend)
    assert result.stdout.strip().endswith("all well"), result.stderr[-4000:]
    assert times(folder) == before
    assert files(tmp_path / "preset") == files(saved)
    with np.load(tmp_path / "predictions.npz") as found:
        assert set(found) == set(predictions)
        for name, expected in predictions.items():
            np.testing.assert_allclose(found[name], expected, atol=BACKENDS_DIFFER * np.ptp(expected))


@keras.saving.register_keras_serializable(package="tests")
class ScalarScale(keras.layers.Layer):
    """As the learnable affine blocks of keras-hub's HGNetV2."""

    def build(self, input_shape):
        self.scale = self.add_weight(name="scale", shape=(), initializer="ones")

    def call(self, inputs):
        return inputs * self.scale


def test_a_weight_that_is_one_number(tmp_path):
    plain = micro_backbone()
    output = {name: ScalarScale(name=f"{name}_scale")(feature) for name, feature in plain.output.items()}
    model = tiny_model(TASKS[:1], backbone=keras.Model(plain.inputs[0], output))
    model.branch("semseg").get_layer("semseg__high_level_scale").scale.assign(0.5)
    model.save_to_preset(tmp_path)
    assert_same_bits(predict(rc_keras.from_preset(tmp_path)), predict(model))
