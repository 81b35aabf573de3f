"""What `make lint` finds: mistakes planted in a copy of each source folder."""

import shutil
import subprocess
import sys

import pytest
from support.folders import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")

# Where each source folder is checked.
FOLDERS = {
    "rc_keras": "build/types/rc_keras",
    "zoo": "build/types/rc_keras/zoo",
    "export": "build/types/rc_keras/export",
    "benchmarks": "benchmarks",
}
# By the file they are in: the lines, and the kind of error that must be found there.
PLANTED = {
    "planted_sum.py": ('def planted() -> None:\n    "a" + 1\n', "operator"),
    "planted_unannotated_sum.py": ('def planted(value):\n    "a" + 1\n', "operator"),
    "planted_unannotated.py": ("def planted(value):\n    return value\n", "no-untyped-def"),
    "planted_method.py": ("from rc_keras.tasks.task import Task\n\nTask.planted\n", "attr-defined"),
    "planted_name.py": ("from rc_keras.base.seeds import derive_planted\n", "attr-defined"),
    "planted_module.py": ("import rc_keras.planted\n", "import-not-found"),
    "planted_zoo_module.py": ("from rc_keras.zoo.planted import evaluate\n", "import-not-found"),
    "planted_export_module.py": ("from rc_keras.export import planted\n", "attr-defined"),
}


@pytest.fixture(scope="module")
def types(tmp_path_factory) -> subprocess.CompletedProcess:
    """What the part of `make lint` that checks types says of a copy with every mistake in every folder."""
    source = tmp_path_factory.mktemp("source")
    for name in ("setup.py", "pyproject.toml", "Makefile", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__", "dummy_data"))
        for name, (lines, _) in PLANTED.items():
            (source / folder / name).write_text(lines)
    stale = source / "build" / "types" / "rc_keras" / "stale.py"
    stale.parent.mkdir(parents=True)
    stale.write_text('"a" + 1\n')
    command = ["make", "--old-file=.venv/.ready/lint", f"RUN={sys.executable}", "types"]
    return subprocess.run(command, cwd=source, capture_output=True, text=True)


def test_types_are_a_part_of_lint():
    command = ["make", "--no-print-directory", "--dry-run", "--old-file=.venv/.ready/lint"]
    recipes = [subprocess.run([*command, target], cwd=ROOT, capture_output=True) for target in ("lint", "types")]
    assert recipes[1].stdout and recipes[1].stdout in recipes[0].stdout


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("folder", FOLDERS)
def test_planted_mistakes_are_found(folder, name, types):
    assert types.returncode != 0
    place, kind = f"{FOLDERS[folder]}/{name}:", PLANTED[name][1]
    assert [line for line in types.stdout.splitlines() if line.startswith(place) and line.endswith(f"[{kind}]")]


def test_nothing_else_is_found_and_nothing_stale(types):
    errors = [line for line in types.stdout.splitlines() if ": error: " in line]
    assert errors and not [line for line in errors if "/planted_" not in line]
