"""The rooms of the house: imports go down, never in a circle, and the picture of them is true."""

import ast
import importlib.util
import textwrap

from support.folders import ROOT

SPEC = importlib.util.spec_from_file_location("house", ROOT / "docs" / "house.py")
house = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(house)


def test_every_room_has_a_floor():
    rooms = {house.room_of(module) for module in house.modules()}
    assert sorted(rooms) == sorted(room for floor in house.FLOORS for room in floor)


def test_imports_between_rooms_go_down():
    """Those inside of functions and for types alone too."""
    up = {f"{start} -> {end}": sorted(set(modules)) for (start, end), modules in house.arrows().items()}
    assert not {arrow: modules for arrow, modules in up.items() if not house.goes_down(*arrow.split(" -> "))}


def test_nothing_below_the_roof_imports_the_roof():
    """`rc_keras` itself imports every room, so neither one of its rooms nor an exporter may import it."""
    for module, path in house.modules().items():
        if not module.startswith("rc_keras.zoo"):
            assert "rc_keras" not in house.imported(path), module


def test_modules_import_each_other_in_no_circle():
    known = house.modules()
    targets = {
        module: {*house.imported(path, with_types=False)} & known.keys() - {module} for module, path in known.items()
    }
    while targets:
        leaves = {module for module, below in targets.items() if not below & targets.keys()}
        assert leaves, f"a circle among {sorted(targets)}"
        targets = {module: below for module, below in targets.items() if module not in leaves}


def test_an_upward_import_would_be_seen(tmp_path):
    source = """
        from typing import TYPE_CHECKING

        if TYPE_CHECKING:
            from rc_keras.model import MultiTaskModel

        def lazily():
            import rc_keras.storage.preset
            from rc_keras.training import first_batch
    """
    (tmp_path / "module.py").write_text(textwrap.dedent(source))
    found = {"rc_keras.model", "rc_keras.storage.preset", "rc_keras.training.first_batch"}
    assert found <= set(house.imported(tmp_path / "module.py"))
    assert "rc_keras.model" not in house.imported(tmp_path / "module.py", with_types=False)
    assert house.goes_down("model", "network") and not house.goes_down("network", "model")


def test_the_picture_is_drawn_from_the_imports():
    assert house.PICTURE.read_text(encoding="utf-8") == house.picture(), "run `python docs/house.py`"


def test_no_file_is_long():
    for path in house.modules().values():
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 350, path


def test_every_room_says_what_it_holds():
    for room in (room for floor in house.FLOORS for room in floor):
        assert house.description(room), room
    for path in house.modules().values():
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path
