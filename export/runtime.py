"""Exported files, run with the settings that keep the shared bank shared in memory."""

import os
import pathlib
from typing import Any

from rc_keras.base.names import unknown_name
from rc_keras.export.formats.network import Network
from rc_keras.export.formats.registry import REGISTRY
from rc_keras.export.listed import listed
from rc_keras.files.whole_folder import recover


def load(path: str | os.PathLike, runtime: str | None = None, threads: int | None = None, **options: Any) -> Network:
    """Opens an exported file.

    Example:

    >>> network = rc_keras.export.runtime.load("model.tflite")
    >>> edges = network.run(image, "edge")

    Args:
        path: what an exporter wrote: a `.tflite` file, or the folder of ONNX files or of a SavedModel.
        runtime: `"litert"`, `"onnx"` or `"saved_model"`; `None`: by what `path` is.
        threads: how many to compute with; `None`: the runtime's choice.
        options: see the runtime's own class, as `rc_keras.export.formats.tflite.runtime.LiteRTNetwork`.

    Returns:
        An object with `tasks`, a list of names; `metadata`, what the file says about itself; `run(image, task)`, from
        an image or a batch, `(height, width, channels)` or `(batch, height, width, channels)` in 0..255, to the task's
        answer with the same leading axes; `run(image)`, to `{task: answer}` of all tasks; and `close()`, also as a
        context manager.

    Raises:
        FileNotFoundError: if there is nothing at `path`.
        ValueError: if it is none of the formats, or damaged.
        ImportError: if the runtime is missing; names what to install.
    """
    path = pathlib.Path(path)
    recover(str(path))
    if not path.exists():
        raise FileNotFoundError(f"`path` must be an exported file or folder. Received: path={str(path)!r}, not there")
    if runtime is None:
        runtime = _recognize(path)
    formats = {format.name: format for format in REGISTRY.values()}
    if runtime not in formats:
        raise unknown_name("runtime", runtime, formats)
    return formats[runtime].open(path, threads=threads, **options)


def _recognize(path: pathlib.Path) -> str:
    for format in reversed(REGISTRY.values()):  # a SavedModel may hold .onnx files besides
        if format.recognizes(path):
            return format.name
    looks = listed((format.looks for format in REGISTRY.values()), ", or ")
    raise ValueError(f"`path` must be {looks}. Received: path={str(path)!r}")
