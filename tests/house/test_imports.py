"""Imports within the package go one way, from what users call to what it is made of."""

import ast
from pathlib import Path

import rc_keras

PACKAGE = Path(rc_keras.__file__).parent
# What is further down imports nothing from further up; those of one line may import each other.
FLOORS = (
    {"build", "from_preset", "__init__"},
    {"model"},
    {"storage"},
    {"training", "reports"},
    {"network"},
    {"tasks", "decoders", "backbones", "methods", "optimizers", "pretrained"},
    {"layers", "losses", "metrics"},
    {"files"},
    {"base", "version"},
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# Imported when it is called, for what it costs.
EXCEPT = {("model", "export")}


def test_every_room_has_a_floor():
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms - {"export", "zoo"} == FLOOR_OF.keys()


def test_imports_go_down():
    """Those within functions and for types alone too."""
    up = []
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        up += [f"{path.relative_to(PACKAGE)}: {other}" for other in _imported(path) if not _may_import(room, other)]
    assert up == []


def _may_import(room, other):
    return other in FLOOR_OF and FLOOR_OF[other] >= FLOOR_OF[room] or (room, other) in EXCEPT


def _imported(path):
    """The rooms of the package that a file imports from."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "rc_keras":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module.startswith("rc_keras."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("rc_keras."))
