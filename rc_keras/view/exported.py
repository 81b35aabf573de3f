"""The files of an export that a page in a browser reads."""

import dataclasses
import json
import os
import pathlib
from typing import Any

from rc_keras.export.formats.description import FILE, FORMAT, FORMAT_VERSION
from rc_keras.export.formats.onnx.folder import BANK, graph_file
from rc_keras.files.whole_folder import recover


@dataclasses.dataclass(frozen=True)
class Exported:
    """An export for the browser.

    Attributes:
        folder: where its files are.
        runtime: what opens it, a key of `rc_keras.view.runtimes.RUNTIMES`.
        model: name of the file; empty where the folder is the export.
        description: name of the file with what the export says about itself.
        files: names of all files that a page reads.
    """

    folder: pathlib.Path
    runtime: str
    model: str
    description: str
    files: tuple[str, ...]

    @property
    def title(self) -> str:
        """What people call it."""
        return self.model or self.folder.name


def find_export(path: str | os.PathLike) -> Exported:
    """The export at a path.

    Args:
        path: a `.tflite` file, or a folder of ONNX graphs, each with its description.

    Raises:
        FileNotFoundError: if it, its description, or a file that this names is missing.
        ValueError: if it is neither, or the description is another's.
    """
    path = pathlib.Path(path)
    recover(str(path))
    path = path.resolve()
    if not path.exists():
        raise FileNotFoundError(f"`path` must be an exported file or folder. Received: path={str(path)!r}, not there")
    if path.is_file() and path.suffix == ".tflite":
        name = f"{path.name}.{FILE}"
        _read_description(path.parent / name)
        return Exported(path.parent, "litert", path.name, name, (path.name, name))
    if not path.is_dir() or not any(path.glob("*.onnx")):
        raise ValueError(f"`path` must be a .tflite file or a folder with .onnx files. Received: path={str(path)!r}")
    names = _graph_files(path, _read_description(path / FILE))
    return Exported(path, "onnx", "", FILE, (FILE, *names))


def _graph_files(folder: pathlib.Path, description: dict[str, Any]) -> list[str]:
    """Names of the graphs and of the weights that are there, of all tasks of a folder."""
    graphs = [task.get("file") for task in description["tasks"]]
    if description.get("joint"):
        graphs.append(graph_file(description["joint"]))
    for name in graphs:
        # A name from a file is no path: nothing outside the folder is read.
        if not isinstance(name, str) or not name.endswith(".onnx") or pathlib.PurePath(name).name != name:
            raise ValueError(f"{FILE} must name a .onnx file for every task. Received: {name!r}")
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{str(folder)!r} must hold {name}, which its {FILE} names.")
    weights = [BANK, *(name.removesuffix(".onnx") + ".bin" for name in graphs)]
    return [name for name in (*graphs, *weights) if (folder / name).is_file()]


def _read_description(path: pathlib.Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path.name} must lie beside the export: export it again. Received: {path}, not there")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        known = (description["format"], description["format_version"]) == (FORMAT, FORMAT_VERSION)
        known = known and all(isinstance(task, dict) for task in description["tasks"])
    except (KeyError, TypeError, ValueError):
        known = False
    if not known:
        raise ValueError(
            f"{path.name} must be a description of version {FORMAT_VERSION}, as exporters write it. Received: {path}"
        )
    return description
