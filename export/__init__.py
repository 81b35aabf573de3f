"""Exporters: files that compute what the model computes, verified in the runtime they are meant for."""

import inspect
import os
from collections.abc import Callable
from typing import Any

from rc_keras.base.names import unknown_name
from rc_keras.export import onnx_folder, to_litert, to_saved_model
from rc_keras.export.report import ExportError, ExportReport
from rc_keras.export.to_litert import litert
from rc_keras.export.to_onnx import onnx
from rc_keras.export.to_saved_model import saved_model
from rc_keras.model import MultiTaskModel

FORMATS: dict[str, Callable[..., ExportReport]] = {"litert": litert, "onnx": onnx, "tf_saved_model": saved_model}
SUFFIXES = {".tflite": "litert"}
_CHECKS = {"litert": to_litert.check, "onnx": onnx_folder.check, "tf_saved_model": to_saved_model.check}


def export(model: MultiTaskModel, path: str | os.PathLike, format: str | None = None, **options: Any) -> ExportReport:
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
    format = _format(path, format)
    known = list(inspect.signature(FORMATS[format]).parameters)[2:]
    for name in options:
        if name not in known:
            raise unknown_name(f"option of {format}", name, known)
    return FORMATS[format](model, path, **options)


def check_target(
    path: str | os.PathLike, format: str | None = None, tasks: list[str] | None = None, overwrite: bool = False
) -> None:
    """Checks whether an export can be written, before there is a model.

    Args:
        path, format: see `export`.
        tasks: names of the tasks that will be exported; `None`: not known yet.
        overwrite: whether what is there is to be replaced.

    Raises:
        ValueError: for an unknown format or suffix, or a file's name for a folder.
        OSError: if the folder around it is missing or not writable, or the name is taken.
    """
    _CHECKS[_format(path, format)](path, overwrite, tasks)


def _format(path: str | os.PathLike, format: str | None) -> str:
    if format is None:
        suffix = os.path.splitext(os.fspath(path))[1]
        if suffix == ".onnx":
            raise ValueError(
                "`path` must be the name of a folder for ONNX, a graph for each task in it, with format='onnx'. "
                f"Received: path={os.fspath(path)!r}"
            )
        if suffix not in SUFFIXES:
            raise unknown_name("suffix", suffix, SUFFIXES)
        return SUFFIXES[suffix]
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    return format


__all__ = [
    "ExportError",
    "ExportReport",
    "FORMATS",
    "SUFFIXES",
    "check_target",
    "export",
    "litert",
    "onnx",
    "saved_model",
]
