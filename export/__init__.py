"""Exporters: files that compute what the model computes, verified in the runtime they are meant for."""

import inspect
import os

from rc_keras.export.report import ExportError, ExportReport
from rc_keras.export.to_litert import litert
from rc_keras.export.to_onnx import onnx
from rc_keras.export.to_saved_model import saved_model
from rc_keras.names import unknown_name

FORMATS = {"litert": litert, "onnx": onnx, "tf_saved_model": saved_model}
SUFFIXES = {".tflite": "litert"}


def export(model, path, format=None, **options):
    """Writes a model for deployment.

    Args:
        model: the `MultiTaskModel`.
        path: the file, whose suffix gives the format, or the folder of a format that has several files.
        format: `"litert"` (a `.tflite` file), `"onnx"` or `"tf_saved_model"` (folders), instead of the suffix.
        options: see the exporter: `rc_keras.export.litert`, `rc_keras.export.onnx` or `rc_keras.export.saved_model`.

    Returns:
        The `ExportReport`.

    Raises:
        ValueError: for an unknown format, suffix or option; lists the known ones and the nearest.
    """
    if format is None:
        suffix = os.path.splitext(os.fspath(path))[1]
        if suffix not in SUFFIXES:
            raise unknown_name("suffix", suffix, SUFFIXES)
        format = SUFFIXES[suffix]
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    known = list(inspect.signature(FORMATS[format]).parameters)[2:]
    for name in options:
        if name not in known:
            raise unknown_name(f"option of {format}", name, known)
    return FORMATS[format](model, path, **options)


__all__ = ["ExportError", "ExportReport", "FORMATS", "SUFFIXES", "export", "litert", "onnx", "saved_model"]
