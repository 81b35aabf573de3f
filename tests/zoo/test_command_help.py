"""What the commands tell about themselves, and what they keep to themselves."""

import ast
import re
import subprocess
import sys
import textwrap

import pytest
from support.folders import ROOT, environment

from rc_keras.base.own_command import command_environment
from rc_keras.zoo.recipes import get_recipe
from rc_keras.zoo.recipes.recipe import FIELDS

COMMANDS = {
    "rc_keras.zoo.train": "zoo/train.py",
    "rc_keras.export": "export/__main__.py",
    "rc_keras.zoo.compare": "zoo/compare/__main__.py",
    "rc_keras.zoo.evaluate": "zoo/evaluate.py",
    "rc_keras.zoo.diagnose": "zoo/diagnose.py",
    "rc_keras.zoo.demo": "zoo/demo/__main__.py",
    "rc_keras.zoo.rooms": "zoo/rooms/__main__.py",
    "rc_keras.view": "rc_keras/view/__main__.py",
}
FAST = ("rc_keras.zoo.train", "rc_keras.export")
NOISY = ("TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND")


def run(module, *flags):
    """`(result, lines of standard error)` of a command, started without what the tests set for TensorFlow."""
    variables = {name: value for name, value in environment().items() if name not in NOISY}
    command = [sys.executable, "-X", "importtime", "-m", module, *flags]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(
    "module", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in COMMANDS]
)
def test_help_tells_every_flag_of_the_command(module):
    done = run(module, "--help")
    assert done.returncode == 0, done.stderr[-2000:]
    imported = set(re.findall(r"\| +(\w+)$", done.stderr, re.MULTILINE))
    assert "keras" in imported and not imported & {"tensorflow", "torch", "tensorflow_datasets"}
    source = (ROOT / COMMANDS[module]).read_text(encoding="utf-8")
    defined = [
        node.args[0].value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "").startswith("DEFINE_")
    ]
    shown = re.findall(r"^  --(?:\[no\])?(\w+)", done.stdout, re.MULTILINE)
    assert defined or module == "rc_keras.zoo.train"
    assert set(defined) <= set(shown) and len(set(shown)) == len(shown)
    assert "run_with_pdb" not in shown and "\nMore:" not in done.stdout
    assert source.partition('"""')[2].partition("\n")[0] in done.stdout


def test_help_shows_the_values_of_a_recipe():
    done = run("rc_keras.zoo.train", "--recipe=nyud", "--scale", "small", "--help")
    entries = re.split(r"^  --", done.stdout, flags=re.MULTILINE)[1:]
    texts = {re.match(r"(?:\[no\])?(\w+)", entry)[1]: " ".join(entry.split()) for entry in entries}
    assert {field.name for field in FIELDS} <= texts.keys()
    recipe = get_recipe("nyud").recipe("small")
    assert f"[{recipe.steps}]" in texts["steps"] and "[96,128]" in texts["crop"]
    assert "[edge,semseg,normals,depth]" in texts["tasks"] and "[none]" in texts["strategy"]
    assert "optimizer steps of the whole run" in texts["steps"]


def test_of_standard_error_errors_are_left():
    program = """
        import os
        from rc_keras.base.own_command import filtered_standard_error
        with filtered_standard_error():
            os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\\n")
            os.write(2, b"I0000 00:00:1 1 port.cc:153] oneDNN is on\\nW1126 05:38:08 1 a.cc:1] Hm.\\n")
            os.write(2, b"E0000 00:00:1 1 cuda.cc:52] failed call\\nno end")
        os.write(2, b" as before\\nI0000 as well")
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, env=environment(KERAS_BACKEND="numpy"), capture_output=True, text=True, check=True)
    assert done.stderr == "E0000 00:00:1 1 cuda.cc:52] failed call\nno end as before\nI0000 as well"


def test_only_commands_of_the_package_set_anything(monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    started = ["python", "-X", "dev", "-m", "rc_keras.zoo.train", "--workdir=run"]
    assert command_environment(started, ["-m", "--workdir=run"]) == {"TF_CPP_MIN_LOG_LEVEL": "2"}
    assert command_environment(started, ["-m", "--help"])["KERAS_BACKEND"] == "numpy"
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    assert command_environment(started, ["-m"]) == {"TF_CPP_MIN_LOG_LEVEL": "0"}
    for others in (["python", "-m", "pytest", "--help"], ["python", "-m", "rc_keras_tools"]):
        assert not command_environment(others, ["-m", "--help"])
    assert not command_environment(["python", "script.py", "-m", "rc_keras.zoo.train"], ["script.py", "--help"])
    assert not command_environment(started, [])
