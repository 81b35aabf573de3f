"""The README's program runs and prints what it says, and its commands exist."""

import os
import re
import shlex
import subprocess
import sys

import keras
import pytest
from support.folders import ROOT

README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the program exports")
def test_program_prints_what_the_readme_shows(tmp_path):
    program = blocks("python")[0]
    printed = blocks("text")
    environment = {**os.environ, "TFDS_DATA_DIR": str(tmp_path / "data")}
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-4000:]
    assert len(printed) == 2 and all(text in result.stdout for text in printed)
    assert (tmp_path / "model.tflite").stat().st_size > 4 * 16_000_000  # without taps that meet only padding
    assert "semseg_mean_iou" in result.stdout and "depth_rmse" in result.stdout


def test_the_shipped_model_draws_a_picture(tmp_path):
    image = pytest.importorskip("PIL.Image")
    program = blocks("python")[1]
    assert 'from_preset("rooms")' in program
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, check=True)
    assert image.open(tmp_path / "semseg.png").size == (128, 128)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines()]


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the commands read with TFDS")
def test_commands_run(tmp_path):
    environment = {**os.environ, "TFDS_DATA_DIR": str(tmp_path / "data")}
    runnable = [command for command in COMMANDS if "DIR" not in command]
    expected = {
        "rc_keras.zoo.train": "| depth | rmse ↓ |",
        "rc_keras.zoo.evaluate": "| depth | rmse ↓ |",
        "rc_keras.zoo.compare": "| saved by rcm | -12.5 % | 36.7 % | 53.1 % |",
        "rc_keras.zoo.diagnose": "depth",
        "rc_keras.export": "of the ideal",
    }
    assert [command.split()[2] for command in runnable] == list(expected)
    for command in runnable:
        arguments = [sys.executable, *shlex.split(command)[1:]]
        result = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr[-4000:]
        assert expected[command.split()[2]] in result.stdout
    for name in ("recipe.json", "model.keras", "results.json", "predictions.png", "on-train/results.md"):
        assert (tmp_path / "run" / name).exists(), name
    assert (tmp_path / "depth.tflite").exists() and (tmp_path / "depth.tflite.sizes.png").exists()


@pytest.mark.parametrize("command", [command for command in COMMANDS if "DIR" in command and "compare" in command])
def test_comparisons_of_own_data_are_planned(command, tmp_path):
    arguments = [sys.executable, *shlex.split(command)[1:], "--norun"]
    result = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-4000:]
    assert "Not finished: single_task, seed 0; rc, seed 0" in result.stdout


@pytest.mark.parametrize("command", [command for command in COMMANDS if "DIR" in command and "compare" not in command])
def test_flags_of_commands_for_own_data_resolve(command):
    from absl import flags

    from rc_keras.zoo import command_line

    try:
        flags.FLAGS(shlex.split(command)[2:])
        assert command_line.resolve_recipe().tasks
    finally:
        flags.FLAGS.unparse_flags()
        for flag in flags.FLAGS.flags_by_module_dict()["rc_keras.zoo.command_line"]:
            flag.unparse()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([a-z-]+)`", README))))
def test_make_targets_exist(target):
    subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


def test_names_in_the_readme_exist():
    """Everything written as `rc_keras.x.y`, and every file and folder that is linked."""
    import pkgutil

    for dotted in set(re.findall(r"\brc_keras(?:\.\w+)+", README)):
        pkgutil.resolve_name(dotted)
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert link.startswith("http") or (ROOT / link).exists(), link


def test_formats_are_those_of_the_registry():
    pytest.importorskip("tensorflow")
    from rc_keras.export.formats.registry import markdown_table

    assert markdown_table() in README
