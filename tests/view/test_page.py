"""The page that is written beside an export, and its examples."""

import base64
import hashlib
import html
import importlib.util
import json
import re

import numpy as np
import pytest
from support.folders import ROOT
from support.pretend_export import pretend_litert, pretend_onnx

from rc_keras.view import page as page_module
from rc_keras.view import write_page

JPEG_TOLERANCE = 4.0  # levels, of the mean difference that compression leaves


@pytest.fixture(autouse=True)
def no_runtimes(monkeypatch, tmp_path):
    """A computer on which none was fetched yet."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))


def test_page_beside_a_file(tmp_path):
    index = write_page(pretend_litert(tmp_path / "export", "a & b.tflite"), download=False)
    assert index == tmp_path / "export" / "a & b.tflite.viewer" / "index.html"
    text = index.read_text(encoding="utf-8")
    assert "<h1>a &amp; b.tflite</h1>" in text and 'data-runtime="litert"' in text
    assert 'data-model="../a%20%26%20b.tflite"' in text
    assert 'data-description="../a%20%26%20b.tflite.description.json"' in text


def test_page_in_a_folder(tmp_path):
    folder = pretend_onnx(tmp_path / "export", "depth")
    index = write_page(folder, download=False)
    assert index == folder / "viewer" / "index.html"
    text = index.read_text(encoding="utf-8")
    assert "<h1>export</h1>" in text and 'data-model="../"' in text and 'data-runtime="onnx"' in text


def test_what_the_page_refers_to_is_there(tmp_path):
    index = write_page(pretend_litert(tmp_path / "export"), download=False)
    text = index.read_text(encoding="utf-8")
    names = re.findall(r'(?:src|href)="([^":]+)"', text)
    for script in index.parent.glob("*.js"):
        names += [name.removeprefix("./") for name in re.findall(r'from "(\./[^"]+)"', script.read_text())]
    assert len(names) > 10
    for name in names:
        assert (index.parent / name).stat().st_size > 0, name


def test_the_policy_allows_the_import_map_and_nothing_inline(tmp_path):
    text = write_page(pretend_litert(tmp_path / "export"), download=False).read_text(encoding="utf-8")
    (imports,) = re.findall(r'<script type="importmap">(.*?)</script>', text)
    digest = base64.b64encode(hashlib.sha256(imports.encode()).digest()).decode()
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1])
    assert (
        f"'sha256-{digest}'" in policy
        and "unsafe-inline" not in policy
        and "unsafe-eval'" not in re.sub("'wasm-unsafe-eval'", "", policy)
    )
    assert json.loads(imports)["imports"]["@litertjs/core"].startswith("https://cdn.jsdelivr.net/npm/@litertjs/core@")
    assert " style=" not in text and not re.search(r"\son[a-z]+=", text)


def test_a_runtime_on_this_computer_is_copied_and_no_cdn_is_named(tmp_path, monkeypatch):
    installed = tmp_path / "installed"
    (installed / "dist").mkdir(parents=True)
    for name in page_module.RUNTIMES["onnx"][0].files:
        (installed / name).write_text(name)
    monkeypatch.setattr(page_module, "find_package", lambda *arguments: installed)
    index = write_page(pretend_onnx(tmp_path / "export", "depth"))
    assert "jsdelivr" not in index.read_text(encoding="utf-8")
    (module,) = index.parent.glob("runtimes/onnxruntime-web/dist/ort.wasm.min.mjs")
    assert module.read_text() == "dist/ort.wasm.min.mjs"


def test_written_again_it_replaces_a_page_and_nothing_else(tmp_path):
    path = pretend_litert(tmp_path / "export")
    index = write_page(path, download=False)
    (index.parent / "old.js").write_text("")
    assert write_page(path, download=False) == index and not (index.parent / "old.js").exists()
    (index.parent / "viewer.js").unlink()
    with pytest.raises(FileExistsError, match="must be free for the page"):
        write_page(path, download=False)
    assert index.exists()


def test_what_is_no_export(tmp_path):
    path = pretend_litert(tmp_path / "export")
    with pytest.raises(FileNotFoundError, match="not there"):
        write_page(tmp_path / "missing.tflite")
    with pytest.raises(ValueError, match="a .tflite file or a folder with .onnx files"):
        write_page(tmp_path)
    description = path.with_name("m.tflite.description.json")
    for content in ("{", "[]", '{"format": "another"}', '{"format": "rc_keras.description", "format_version": 2}'):
        description.write_text(content)
        with pytest.raises(ValueError, match="must be a description of version 1"):
            write_page(path)
    description.unlink()
    with pytest.raises(FileNotFoundError, match="export it again"):
        write_page(path)
    folder = pretend_onnx(tmp_path / "onnx", "semseg", "depth")
    (folder / "depth.onnx").unlink()
    with pytest.raises(FileNotFoundError, match="must hold depth.onnx"):
        write_page(folder)


def test_examples_are_what_the_renderer_makes():
    pil = pytest.importorskip("PIL.Image")
    pytest.importorskip("tensorflow_datasets")
    spec = importlib.util.spec_from_file_location("viewer_examples", ROOT / "docs" / "viewer_examples.py")
    examples = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(examples)
    assert sorted(path.name for path in examples.FOLDER.iterdir()) == ["1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg"]
    stored = np.asarray(pil.open(examples.FOLDER / "1.jpg"), "float32")
    assert np.abs(stored - examples.picture(1)).mean() < JPEG_TOLERANCE
