"""The code in the documentation's pages and notebooks runs, and prints what the pages show."""

import importlib.util
import subprocess
import sys

import keras
import pytest
from support.folders import ROOT, environment
from support.page_code import imported, page_program, printed

DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if page_program(path))
NOTEBOOKS = sorted(DOCS.rglob("*.ipynb"))
SECONDS = 1200  # of a cell of a notebook, at most

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="pages export and read with TFDS"),
]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Where pages find the data sets that others prepared."""
    return tmp_path_factory.mktemp("tensorflow_datasets")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_page_runs(page, data_dir, tmp_path):
    for package in sorted(imported(page)):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    result = subprocess.run(
        [sys.executable, "-c", page_program(page)],
        cwd=tmp_path,
        env=environment(TFDS_DATA_DIR=str(data_dir)),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    for text in printed(page):
        assert text in result.stdout


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_runs(notebook, data_dir, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="executes notebooks")
    pytest.importorskip("ipykernel", reason="is the kernel of notebooks")
    import nbformat

    for name, value in environment(TFDS_DATA_DIR=str(data_dir)).items():
        monkeypatch.setenv(name, value)
    content = nbformat.read(notebook, as_version=4)
    client = nbclient.NotebookClient(content, timeout=SECONDS, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    pictures = [
        output for cell in content.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert pictures
