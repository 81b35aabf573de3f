"""The registry of export formats as a whole, and one more format, added as a contributor adds one."""

import importlib.metadata
import inspect
import os
import subprocess
import sys
from unittest import mock

import keras
import numpy as np
import pytest
from support.folders import ROOT
from support.tiny import TASKS, tiny_backbone, tiny_decoder, tiny_model
from support.trained import pretend_training

import rc_keras.export
from rc_keras.export.comparison import TOLERANCES
from rc_keras.export.formats.registry import FORMATS, REGISTRY, SUFFIXES, markdown_table, register
from rc_keras.export.options import OPTIONS, ExportOptions
from rc_keras.export.runtime import load

on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exporters need Keras on TensorFlow")
TOLERANCE = 1e-4  # largest difference from the model, of the range of its output


@pytest.fixture
def one_more():
    """A format that is registered for one test."""
    from support.zipped_saved_model import ZippedSavedModel

    with mock.patch.dict(REGISTRY), mock.patch.dict(FORMATS), mock.patch.dict(SUFFIXES):
        register(ZippedSavedModel())
        yield


@pytest.mark.parametrize("keyword", REGISTRY)
def test_every_format_is_described_in_full(keyword):
    format = REGISTRY[keyword]
    assert keyword == format.keyword and getattr(rc_keras.export, format.name) is FORMATS[keyword]
    assert format.title and format.summary and format.looks and format.runs_in and format.writing
    assert set(format.quantizers) < set(TOLERANCES)
    assert set(format.unknown_options) < set(OPTIONS) and set(format.defaults) <= set(format.options)
    assert ("quantize" in format.options) == bool(format.quantizers)
    assert ("representative_data" in format.options) == ("int8" in format.quantizers)
    assert bool(format.packages) == bool(format.extra)
    assert not format.extra or format.extra in importlib.metadata.metadata("rc_keras").get_all("Provides-Extra")
    assert SUFFIXES.get(format.suffix) == (keyword if format.suffix else None)
    assert f'`"{keyword}"`' in markdown_table() and format.summary in markdown_table()


def test_names_of_formats_are_their_own():
    for attribute in ("name", "keyword", "title", "looks"):
        assert len({getattr(format, attribute) for format in REGISTRY.values()}) == len(REGISTRY)


@pytest.mark.parametrize("attribute", ["name", "keyword", "suffix"])
def test_a_format_with_a_name_of_another_is_refused(attribute):
    taken = {attribute: getattr(REGISTRY["litert"], attribute)}
    names = {"name": "other", "keyword": "other", "suffix": ".other", **taken}
    before = dict(REGISTRY)
    with pytest.raises(
        ValueError, match=rf"The {attribute} of a format must be its own. .*'{taken[attribute]}', that of"
    ):
        register(type("Other", (type(REGISTRY["litert"]),), names)())
    assert before == REGISTRY and list(FORMATS) == list(REGISTRY)


def test_files_from_elsewhere_are_told_what_is_read(tmp_path):
    with pytest.raises(ValueError) as error:
        load(tmp_path)
    assert all(format.looks in str(error.value) for format in REGISTRY.values())


@on_tensorflow
def test_a_saved_model_beside_graphs_is_a_saved_model(tmp_path):
    for name in ("saved_model.pb", "edge.onnx"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match="must be a folder that rc_keras.export.saved_model wrote"):
        load(tmp_path)


def test_every_option_is_described_once_in_its_order():
    described = [line.split(":")[0].strip() for line in ExportOptions.__doc__.splitlines() if line[:9].strip()]
    assert [name for name in described if name in OPTIONS] == list(OPTIONS)


@pytest.mark.parametrize(
    ("name", "first", "missing", "batch_size"),
    [
        ("litert", "path", {"batch_size"}, None),
        ("onnx", "directory", set(), 1),
        ("saved_model", "directory", {"quantize", "representative_data"}, None),
    ],
)
def test_signatures_and_help_show_the_options(name, first, missing, batch_size):
    function = getattr(rc_keras.export, name)
    parameters = inspect.signature(function).parameters
    assert list(parameters) == ["model", first, *(option for option in OPTIONS if option not in missing)]
    if "batch_size" in parameters:
        assert parameters["batch_size"].default == batch_size
    assert parameters["joint"].default == (name == "saved_model")
    for option, field in inspect.signature(ExportOptions).parameters.items():
        if option in parameters and option not in ("batch_size", "joint"):
            assert parameters[option].default == field.default
    assert function.__name__ == name and "ExportOptions" in function.__doc__
    with pytest.raises(TypeError, match=rf"{name}\(\) got an unexpected keyword argument 'overwite'"):
        function(None, "m", overwite=True)
    with pytest.raises(TypeError, match=rf"{name}\(\) missing a required argument: '{first}'"):
        function(None)


@on_tensorflow
def test_one_more_format(one_more, tmp_path, capsys):
    model = pretend_training(tiny_model(TASKS[1:2]))
    path = tmp_path / "m.zip"
    report = model.export(path)
    assert "Comparing edge in TensorFlow" in capsys.readouterr().out
    assert report.format == "zipped_saved_model" and report.file_bytes == path.stat().st_size
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        "m.zip",
        "m.zip.description.json",
        "m.zip.report.json",
    ]
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype("float32")
    with load(path) as network:
        received = network.run(image, "edge")
    expected = keras.ops.convert_to_numpy(model.task("edge").activate(model(image[None])["edge"]))[0]
    np.testing.assert_allclose(received, expected, rtol=0, atol=TOLERANCE * np.ptp(expected))
    for options, message in (({}, "must be free"), ({"quantize": "int8"}, "`option of zipped_saved_model`")):
        with pytest.raises((FileExistsError, ValueError), match=message):
            model.export(path, **options)
    with pytest.raises(ValueError, match="Did you mean 'zipped_saved_model'"):
        model.export(path, format="ziped_saved_model")
    assert "zipped SavedModel: one zip file with a SavedModel" in markdown_table()


@on_tensorflow
@pytest.mark.slow
def test_one_more_format_by_the_command_line(tmp_path):
    model = pretend_training(
        rc_keras.build(TASKS[1:2], tiny_backbone(), tiny_decoder(), image_shape=(32, 32, 3), seed=0)
    )
    model.save(tmp_path / "m.keras")
    command = [sys.executable, "-m", "support.zipped_saved_model"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}

    def run(*arguments):
        return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, env=environment)

    done = run("--model", tmp_path / "m.keras", "--out", tmp_path / "m.zip")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m.zip").exists() and "zipped_saved_model, float32, shared" in done.stdout
    told = run("--helpfull").stdout
    assert "litert, onnx, tf_saved_model or zipped_saved_model" in " ".join(told.split())
