"""Exporters: files that compute what the model computes, verified in the runtime they are meant for."""

import os
from typing import Any

from rc_keras.base.names import unknown_name
from rc_keras.export import runtime
from rc_keras.export.formats.registry import FORMATS, REGISTRY, SUFFIXES
from rc_keras.export.options import ExportOptions
from rc_keras.export.report import ExportError, ExportReport
from rc_keras.network.multi_task_network import MultiTaskNetwork

litert = FORMATS["litert"]
onnx = FORMATS["onnx"]
saved_model = FORMATS["tf_saved_model"]


def export(model: MultiTaskNetwork, path: str | os.PathLike, format: str | None = None, **options: Any) -> ExportReport:
    """Writes a model for deployment.

    Args:
        model: the `MultiTaskModel`.
        path: the file, whose suffix gives the format, or the folder of a format that has several files.
        format: `"litert"` (a `.tflite` file), `"onnx"` or `"tf_saved_model"` (folders), instead of the suffix.
        options: see `ExportOptions`, and the exporter for those that it knows: `rc_keras.export.litert`,
            `rc_keras.export.onnx` or `rc_keras.export.saved_model`.

    Returns:
        The `ExportReport`.

    Raises:
        ValueError: for an unknown format, suffix or option; lists the known ones and the nearest.
    """
    format = _format(path, format)
    for name in options:
        if name not in REGISTRY[format].options:
            raise unknown_name(f"option of {format}", name, REGISTRY[format].options)
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
    REGISTRY[_format(path, format)].check_target(path, overwrite, tasks)


def _format(path: str | os.PathLike, format: str | None) -> str:
    if format is None:
        suffix = os.path.splitext(os.fspath(path))[1]
        for known in REGISTRY.values():
            if suffix and suffix == known.part_suffix:
                raise ValueError(
                    f"`path` must be the name of a folder for {known.title}, {known.part} in it, with "
                    f"format={known.keyword!r}. Received: path={os.fspath(path)!r}"
                )
        if suffix not in SUFFIXES:
            raise unknown_name("suffix", suffix, SUFFIXES)
        return SUFFIXES[suffix]
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    return format


__all__ = [
    "ExportError",
    "ExportOptions",
    "ExportReport",
    "FORMATS",
    "SUFFIXES",
    "check_target",
    "export",
    "litert",
    "onnx",
    "runtime",
    "saved_model",
]
