"""Folders of ONNX files, run in onnxruntime."""

import os
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from rc_keras.base.names import unknown_name
from rc_keras.export.folding.folded_network import ALL
from rc_keras.export.formats.file_digest import sha256
from rc_keras.export.formats.network import Network
from rc_keras.export.formats.onnx.folder import COMMON, describe_folder, graph_file, read_joint, read_metadata
from rc_keras.export.formats.onnx.self_description import tasks_of
from rc_keras.files import manifest
from rc_keras.files.whole_folder import read_whole

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

PREFERENCES = ("memory", "speed")


class ONNXNetwork(Network):
    """Tasks that `rc_keras.export.onnx` wrote to a folder.

    Each task is a session of its own, opened when it is first run. All sessions map the same `bank.bin` into memory,
    where it lies once.

    Example:

    >>> with rc_keras.export.runtime.load("model_onnx") as network:
    ...     edges = network.run(image, "edge")

    Args:
        path: the folder.
        threads: how many to compute with; `None`: onnxruntime's choice.
        provider: name of an execution provider of onnxruntime, or several, the preferred one first.
        prefer: `"memory"`: weights stay as they are in the files, shared, and activations are freed after each run;
            `"speed"`: each session keeps activations, and a copy of its weights, bank included, in the fastest layout.

    Raises:
        ImportError: without onnxruntime; names what to install.
        ValueError: if a file is missing, damaged or exchanged, or an argument is not as described.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        threads: int | None = None,
        provider: str | Iterable[str] = "CPUExecutionProvider",
        prefer: str = "memory",
    ) -> None:
        runtime = _import_onnxruntime()
        if prefer not in PREFERENCES:
            raise unknown_name("prefer", prefer, PREFERENCES)
        if threads is not None and (not isinstance(threads, int) or threads < 1):
            raise ValueError(f"`threads` must be a positive integer, or None. Received: threads={threads!r}")
        self._providers = [provider] if isinstance(provider, str) else list(provider)
        for name in self._providers:
            if name not in runtime.get_available_providers():
                raise unknown_name("provider", name, runtime.get_available_providers())
        self._options = runtime.SessionOptions()
        self._options.intra_op_num_threads = threads or 0
        self._options.log_severity_level = 3  # errors
        levels = runtime.GraphOptimizationLevel
        if prefer == "memory":
            # The highest level copies kernels to another layout, and an arena keeps activations, for each session anew.
            self._options.graph_optimization_level = levels.ORT_ENABLE_EXTENDED
            self._options.enable_cpu_mem_arena = False
        else:
            self._options.graph_optimization_level = levels.ORT_ENABLE_ALL
        self._folder = os.path.abspath(os.fspath(path))
        metadata, self._joint, description = read_whole(self._folder, lambda: _check_files(self._folder))
        super().__init__(metadata, description)
        self._sessions: dict[str, InferenceSession] = {}

    def _answers(self, images: np.ndarray, task: str) -> np.ndarray:
        return self._answers_of(images, task)[task]

    def _answers_of_all(self, images: np.ndarray) -> dict[str, np.ndarray]:
        found = self._answers_of(images, ALL) if self._joint else {}
        return {task: found[task] if task in found else self._answers(images, task) for task in self.tasks}

    def _answers_of(self, images: np.ndarray, graph: str) -> dict[str, np.ndarray]:
        session = self._session(graph)
        tasks = [output.name for output in session.get_outputs()]
        fixed = session.get_inputs()[0].shape[0]
        if not isinstance(fixed, int):
            return dict(zip(tasks, session.run(None, {"image": images}), strict=True))
        if len(images) % fixed:
            raise ValueError(f"`image` must be batches of {fixed}. Received: {len(images)} images")
        parts = [session.run(None, {"image": part}) for part in np.split(images, len(images) // fixed)]
        return {task: np.concatenate(answers) for task, *answers in zip(tasks, *parts, strict=True)}

    def _free(self) -> None:
        self._sessions.clear()

    def _session(self, task: str) -> "InferenceSession":
        with self._lock:
            self._check_open()
            if task not in self._sessions:
                path = os.path.join(self._folder, graph_file(task))
                session = _import_onnxruntime().InferenceSession(path, self._options, providers=self._providers)
                self._sessions[task] = session
            return self._sessions[task]


def _import_onnxruntime() -> ModuleType:
    try:
        import onnx  # noqa: F401, graphs are read with it
        import onnxruntime
    except ImportError as error:
        raise ImportError("Running ONNX files needs onnx and onnxruntime: pip install rc_keras[onnx]") from error
    return onnxruntime


def _digest(folder: str, name: str) -> str | None:
    path = os.path.join(folder, name)
    return sha256(path) if os.path.isfile(path) else None


def _check_files(folder: str) -> tuple[dict[str, Any], bool, dict[str, Any] | None]:
    """The metadata of all tasks of a folder together, once all its weights are known to be what they were.

    Returns:
        `(metadata, joint, description)`: and whether the graph of all tasks is there, for these weights, and what the
        graphs say to other programs.
    """
    if not os.path.isdir(folder):
        raise ValueError(f"`path` must be a folder of ONNX files. Received: path={folder!r}")
    tasks = read_metadata(folder)
    listed = [name for name in manifest.read(folder) or () if name.endswith(graph_file(""))]
    missing = [name for name in listed if not os.path.lexists(os.path.join(folder, name))]
    if missing:
        raise ValueError(
            f"{folder!r} must hold the files that its {manifest.NAME} lists. Received: a folder without "
            f"{', '.join(missing)}. To ship some of its tasks, export them to a folder of their own, or leave out the "
            f"{manifest.NAME}"
        )
    if not tasks:
        raise ValueError(f"`path` must be a folder with .onnx files. Received: path={folder!r}, without")
    digests: dict[str, str] = {}
    for task, data in tasks.items():
        for name, digest in data["files"].items():
            path = os.path.join(folder, name)
            if not os.path.isfile(path):
                raise ValueError(f"{task!r} needs {name!r}. Received: path={folder!r}, without it")
            digests[name] = digests.get(name) or sha256(path)
            if digests[name] != digest:
                raise ValueError(
                    f"{name!r} must be the file that {task!r} was exported with. Received: path={folder!r}, where it "
                    "is damaged or another one"
                )
    first = next(iter(tasks.values()))
    if any(data[key] != first[key] for data in tasks.values() for key in COMMON):
        raise ValueError(f"The tasks of a folder must have been exported alike. Received: path={folder!r}")
    described = {task: data["tasks"][task] for task, data in tasks.items()}
    joint = read_joint(folder)
    fits = bool(joint) and all(_digest(folder, name) == digest for name, digest in joint["files"].items())
    metadata = {**{key: value for key, value in first.items() if key != "files"}, "tasks": described}
    return metadata, fits, describe_folder(folder, tasks, tasks_of(folder))
