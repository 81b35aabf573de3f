"""The table of backbones: its script makes rows, keeps them, and the page has what the file has."""

import importlib.util

import pytest
from support.folders import ROOT

import rc_keras

ROUNDING = 1e-5  # of the range: float32 in another order
SIZE = 64
GUIDES = ROOT / "docs" / "guides"


@pytest.fixture(scope="module")
def script():
    specification = importlib.util.spec_from_file_location("backbones", ROOT / "benchmarks" / "backbones.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def small(size):
    return rc_keras.backbones.resnet((1, 1, 1, 1), (8, 8, 16, 16), (size, size, 3), seed=0)


def test_rows_are_made_once(script, monkeypatch, tmp_path, capsys):
    """Exports are left out, which have tests of their own."""
    monkeypatch.setattr(script, "BACKBONES", {"small": small})
    monkeypatch.setattr(script, "_file_bytes", lambda model: (len(model.tasks) * 1_000_000, 6_000_000))
    rows_path, page = tmp_path / "rows.json", tmp_path / "page.md"
    page.write_text(f"# Before\n\n{script.MARK}\nan older table\n")
    script.make_rows(["small"], SIZE, str(rows_path), str(page))
    row = script.read_rows(str(rows_path))["small"]
    report = rc_keras.graft_report(small(SIZE), pointwise_rank=script.RANK)
    assert (row.parameters, row.shared, row.per_task) == (report.parameters, report.shared, report.per_task)
    assert row.stride == 16 and row.difference <= ROUNDING and row.macs > row.plain_macs > 0
    text = page.read_text()
    assert text.startswith(f"# Before\n\n{script.MARK}\n\n| backbone |") and "| 3.0 MB | 6.0 MB |" in text
    assert "older" not in text and "\n| small | 16 |" in capsys.readouterr().out

    monkeypatch.setattr(script, "measure", None)
    script.make_rows(["small"], SIZE, str(rows_path), str(page))
    assert page.read_text() == text


def test_a_backbone_that_cannot_be_exported_has_a_row_all_the_same(script, monkeypatch):
    def fail(model):
        raise ValueError("it does not know Erf\nat all")

    monkeypatch.setattr(script, "BACKBONES", {"small": small})
    monkeypatch.setattr(script, "_file_bytes", fail)
    row = script.measure("small", SIZE)
    assert row.export_error == "ValueError: it does not know Erf" and row.file_bytes is None
    assert "| — | — |" in script.table({"small": row})


def test_the_page_has_the_rows_of_the_file(script):
    rows = script.read_rows(str(GUIDES / "backbones.json"))
    page = (GUIDES / "backbones.md").read_text(encoding="utf-8")
    assert rows and page.partition(script.MARK)[2].strip().startswith(script.table(rows))
    for name, row in rows.items():
        assert row.difference <= ROUNDING, name


def test_a_task_is_cheap(script):
    """Shares of the plain encoder."""
    rows = script.read_rows(str(GUIDES / "backbones.json"))
    most = {"resnet50": 0.18, "mobilenetv2": 0.25, "EfficientNetB0": 0.25, "convnext_tiny": 0.12, "ViT-Ti/16": 0.12}
    assert not {name: rows[name].per_task for name in most if rows[name].per_task > most[name]}
