"""What is installed: the version, every sub-package, and every data file."""

import importlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.folders import ROOT

import rc_keras

NOT_INSTALLED = {"__pycache__", "dummy_data", "results"}  # for tests of the data sets, and for readers
SOURCE_FOLDERS = {"rc_keras": "rc_keras", "zoo": "rc_keras/zoo", "export": "rc_keras/export"}

# What a preset of the package consists of, put into the copy that the wheel is built from.
ADDED_PRESET = {
    f"rc_keras/published/packaged/attic/{name}"
    for name in (
        "README.md",
        "config.json",
        "manifest.json",
        "metadata.json",
        "bank/bank.safetensors",
        "tasks/edge/task.rctask",
    )
}


def list_sources() -> dict[str, Path]:
    """Every source and data file, by the path it has once installed."""
    return {
        f"{installed}/{path.relative_to(ROOT / folder).as_posix()}": path
        for folder, installed in SOURCE_FOLDERS.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and NOT_INSTALLED.isdisjoint(path.parts) and path.name[0] != "."
    }


def list_packages() -> list[str]:
    folders = {str(Path(name).parent) for name in list_sources() if name.endswith(".py")}
    return sorted(folder.replace("/", ".") for folder in folders)


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory) -> set[str]:
    """The names in a wheel built from a copy, so that the checkout stays as it is."""
    source = tmp_path_factory.mktemp("source")
    for name in ("setup.py", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for folder in SOURCE_FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, source / folder, ignore=ignored)
    for name in ADDED_PRESET:
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    build = "from setuptools.build_meta import build_wheel; build_wheel('.')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = source.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_installed_version_is_the_one_in_the_source():
    assert importlib.metadata.version("rc_keras") == rc_keras.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", rc_keras.__version__)


@pytest.mark.parametrize("package", list_packages())
def test_every_package_is_importable_under_its_installed_name(package):
    assert importlib.import_module(package).__file__, f"{package} has no __init__.py"


def test_wheel_holds_every_source_and_data_file_and_nothing_else(wheel_names):
    metadata = {name for name in wheel_names if name.startswith("rc_keras-")}
    assert wheel_names - metadata - ADDED_PRESET == set(list_sources())


def test_wheel_holds_a_preset_whose_folder_is_put_into_the_package(wheel_names):
    assert wheel_names >= ADDED_PRESET
