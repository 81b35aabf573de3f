"""Training runs: from a recipe to results, and through everything that may happen on the way."""

import dataclasses
import errno
import json
import shutil
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image
from support.folders import SUPPORT, environment

from rc_keras.files.named_weights import named_variables
from rc_keras.training.non_finite_loss import NonFiniteLossError
from rc_keras.zoo.datasets.data import open_data
from rc_keras.zoo.evaluation.report import evaluate
from rc_keras.zoo.recipes import Recipe
from rc_keras.zoo.strategy import make_strategy
from rc_keras.zoo.training import checkpoints, run, run_folder
from rc_keras.zoo.training.history import read_history

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="zoo runs are tested on TensorFlow")
STRATEGY = make_strategy("none")
RECIPE = Recipe(
    dataset="scenes/tiny",
    tasks=("edge", "depth"),
    crop=(64, 64),
    steps=9,
    checkpoint_every=3,
    validate_every=9,
    decoder_width=8,
    low_level_width=8,
    response_images=2,
    batch_size=4,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    data = open_data("scenes/tiny", data_dir=str(tmp_path_factory.mktemp("data")))
    data.prepare()
    return data


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A whole run that nothing disturbed."""
    workdir = tmp_path_factory.mktemp("run")
    model = run.train(RECIPE, data, workdir, STRATEGY, verbose=0)
    evaluate(model, RECIPE, data, STRATEGY, workdir)
    return workdir


def weights(path):
    model = keras.saving.load_model(path)
    return {name: np.array(v) for name, v in named_variables([b for m in model.layers for b in m.layers]).items()}


def assert_same_weights(left, right):
    left, right = weights(left), weights(right)
    assert left.keys() == right.keys()
    for name, value in left.items():
        np.testing.assert_array_equal(value, right[name], err_msg=name)


def test_a_run_leaves_everything(finished):
    assert Recipe.load(finished / "recipe.json") == RECIPE
    assert [path.name for path in sorted((finished / "checkpoints").iterdir())] == [
        "step_00000006.keras",
        "step_00000009.keras",
    ]
    history = read_history(finished / "history.jsonl")
    assert [line["step"] for line in history] == [3, 6, 9]
    assert all(np.isfinite(list(line.values())).all() for line in history)
    assert "val_depth_rmse" in history[-1] and "val_depth_rmse" not in history[0]
    assert list((finished / "tensorboard").glob("events*"))
    results = json.loads((finished / "results.json").read_text())
    assert results["images"] == 8 and set(results["tasks"]) == {"edge", "depth"}
    assert {"ods_f", "ois_f", "ap"} <= set(results["tasks"]["edge"])
    table = (finished / "results.md").read_text()
    assert f"| depth | rmse ↓ | {results['tasks']['depth']['rmse']:.4f} m |" in table
    assert Image.open(finished / "augmentation.png").size[0] > 9 * 64
    width, height = Image.open(finished / "predictions.png").size
    assert width > 5 * 64 and height > 6 * 64


def test_tensorboard_has_scalars_and_pictures(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(finished / "tensorboard")).Reload()
    tags = events.Tags()
    assert "depth_rmse/train" in tags["tensors"] and "depth_rmse/validation" in tags["tensors"]
    assert "edge" in tags["tensors"] and "depth" in tags["tensors"]


def test_measured_is_what_training_measured(finished):
    """The evaluation's metrics of the saved model are those of `fit`'s last validation."""
    last = read_history(finished / "history.jsonl")[-1]
    scores = json.loads((finished / "results.json").read_text())["tasks"]
    assert scores["depth"]["rmse"] == pytest.approx(last["val_depth_rmse"], rel=1e-5)
    assert scores["edge"]["max_f"] == pytest.approx(last["val_edge_max_f"], rel=1e-5)


@pytest.mark.slow
def test_killed_and_resumed_is_the_same_run(data, tmp_path):
    RECIPE.save(tmp_path / "recipe.json")

    def start(workdir, *step):
        command = [sys.executable, SUPPORT / "killed_run.py", tmp_path / "recipe.json", workdir]
        command += [data.builder._data_dir_root, *step]
        return subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    undisturbed, killed = start(tmp_path / "whole"), start(tmp_path / "killed", "5")
    output, _ = killed.communicate()
    assert killed.returncode == -signal.SIGKILL, output
    saved = tmp_path / "killed" / "checkpoints"
    assert [path.name for path in saved.iterdir()] == ["step_00000003.keras"]
    (saved / ".step_00000006.abc.keras").write_bytes(b"cut off")  # as a killed write leaves it
    resumed = start(tmp_path / "killed")
    for process in (undisturbed, resumed):
        output, _ = process.communicate()
        assert process.returncode == 0, output
    assert "Going on with step 3 of 9" in output
    assert_same_weights(tmp_path / "killed" / "model.keras", tmp_path / "whole" / "model.keras")
    steps = [line["step"] for line in read_history(tmp_path / "killed" / "history.jsonl")]
    assert steps == [3, 6, 9]
    assert not list(saved.glob(".*"))


def test_a_finished_run_is_left_alone(finished, data, capsys):
    before = (finished / "model.keras").stat().st_mtime_ns
    run.train(RECIPE, data, finished, STRATEGY)
    assert (finished / "model.keras").stat().st_mtime_ns == before
    assert "nothing left to train" in capsys.readouterr().out


def test_another_recipe_is_refused(finished, data):
    with pytest.raises(ValueError, match=r"another folder. Received: l2=0.0001 there, 0.5 here"):
        run.train(dataclasses.replace(RECIPE, l2=0.5), data, finished, STRATEGY)


@pytest.mark.slow
@pytest.mark.slow
def test_a_folder_in_which_nothing_was_trained_takes_another_recipe(data, tmp_path):
    recipe = dataclasses.replace(RECIPE, tasks=("depth",), steps=1, checkpoint_every=1, validate_every=0)
    with pytest.raises(FileNotFoundError, match="resnt18"):
        run.train(dataclasses.replace(recipe, weights="resnt18.pth"), data, tmp_path, STRATEGY)
    assert (tmp_path / "recipe.json").exists()
    found = [tmp_path / name for name in ("results.json", "predictions.png", "responses.json")]
    for path in found:
        path.write_text("of a model that was deleted")
    run.train(recipe, data, tmp_path, STRATEGY, verbose=0)
    assert Recipe.load(tmp_path / "recipe.json") == recipe
    assert not any(path.exists() for path in found)  # else it would pass for that of this model


def test_images_larger_than_the_crop_are_found_before_training(data, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "make_model", lambda *_: pytest.fail("a model was built"))
    with pytest.raises(ValueError, match=r"Images of `validation` must fit in the crop, \(32, 64\)"):
        run.train(dataclasses.replace(RECIPE, crop=(32, 64)), data, tmp_path, STRATEGY)


@pytest.mark.slow
def test_the_folder_of_a_run_keeps_what_the_run_measured(finished):
    before = (finished / "results.json").read_bytes()
    for module in ("evaluate", "diagnose"):
        command = [sys.executable, "-m", f"rc_keras.zoo.{module}", f"--workdir={finished}", "--split=train"]
        done = subprocess.run([*command, "--tasks=depth"], capture_output=True, text=True, timeout=300)
        assert done.returncode != 0 and "`--out` must be given" in done.stderr + done.stdout
        assert "--split, --tasks" in done.stderr + done.stdout
    assert (finished / "results.json").read_bytes() == before


def test_a_foreign_or_damaged_checkpoint_is_refused(finished, data, tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    shutil.copy(finished / "checkpoints" / "step_00000006.keras", folder)
    other = dataclasses.replace(RECIPE, tasks=("semseg",))
    other.save(tmp_path / "recipe.json")
    with pytest.raises(ValueError, match=r"step_00000006.keras` must hold a model that trains \['semseg'\]"):
        run.train(other, data, tmp_path, STRATEGY)
    (folder / "step_00000006.keras").write_bytes((folder / "step_00000006.keras").read_bytes()[:1000])
    (tmp_path / "recipe.json").unlink()
    with pytest.raises(ValueError, match=r"must hold a run with its recipe.json, or be another folder"):
        run.train(RECIPE, data, tmp_path, STRATEGY)
    RECIPE.save(tmp_path / "recipe.json")
    with pytest.raises(ValueError, match="step_00000006.keras` must be a checkpoint"):
        run.train(RECIPE, data, tmp_path, STRATEGY)


@pytest.mark.slow
def test_a_full_disk_keeps_the_last_checkpoint(finished, data, tmp_path, monkeypatch):
    shutil.copytree(finished / "checkpoints", tmp_path / "checkpoints")
    (tmp_path / "checkpoints" / "step_00000009.keras").unlink()
    RECIPE.save(tmp_path / "recipe.json")

    def full(self, store):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("rc_keras.MultiTaskModel.save_own_variables", full)
    with pytest.raises(OSError, match=r"disk is full. The last good one is .*step_00000006.keras"):
        run.train(RECIPE, data, tmp_path, STRATEGY, verbose=0)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_00000006.keras"]


def test_a_second_run_in_the_folder_is_told_to_wait(data, tmp_path):
    with run_folder.lock(tmp_path), pytest.raises(BlockingIOError, match="The run in .* must have one writer"):
        run.train(RECIPE, data, tmp_path, STRATEGY, verbose=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_loss_that_is_no_number_names_task_step_and_images(data, tmp_path):
    recipe = dataclasses.replace(RECIPE, learning_rate=1e20, validate_every=0)
    with pytest.raises(NonFiniteLossError, match=r"task '\w+' became (nan|inf) at step \d, on the images \S+, \S+, "):
        run.train(recipe, data, tmp_path, STRATEGY, verbose=0)
    assert not (tmp_path / "model.keras").exists()


@pytest.mark.slow
def test_removed_data_are_named(data, tmp_path, monkeypatch):
    copy = tmp_path / "data"
    shutil.copytree(data.builder._data_dir_root, copy)
    removed = open_data("scenes/tiny", data_dir=str(copy))
    monkeypatch.setattr(run.History, "on_epoch_end", lambda self, epoch, logs=None: shutil.rmtree(copy, True))
    recipe = dataclasses.replace(RECIPE, steps=300, validate_every=0)  # far more than is read ahead
    with pytest.raises(FileNotFoundError, match=r"scenes.* must stay until the run ends.*step_\d+.keras"):
        run.train(recipe, removed, tmp_path / "run", STRATEGY, verbose=0)


@pytest.mark.slow
@pytest.mark.slow
def test_tasks_are_added_to_a_finished_run(finished, data, tmp_path):
    recipe = dataclasses.replace(
        RECIPE, tasks=("normals",), add_to=str(finished / "model.keras"), steps=2, checkpoint_every=2, validate_every=0
    )
    grown = weights(run.train(recipe, data, tmp_path, STRATEGY, verbose=0))
    for name, value in weights(finished / "model.keras").items():
        np.testing.assert_array_equal(grown[name], value, err_msg=name)
    assert any(name.startswith("normals__") for name in grown)
    with pytest.raises(ValueError, match="`add_to` must take images"):
        run.make_model(dataclasses.replace(recipe, crop=(32, 32)), data)
    with pytest.raises(ValueError, match="`method` must be that of the model of `add_to`, 'rcm'"):
        run.make_model(dataclasses.replace(recipe, method="fine_tune"), data)


def test_checkpoints_are_pruned_before_and_after(tmp_path):
    kept = checkpoints.Checkpoints(tmp_path, STRATEGY, keep=2)
    for step in (1, 2, 3):
        kept.path(step).write_bytes(b"")
    assert kept.steps() == [1, 2, 3]
    kept._remove(kept.steps()[:-2])
    assert kept.steps() == [2, 3]
