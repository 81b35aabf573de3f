"""A .tflite file in LiteRT, the bank once in memory."""

import importlib.metadata
import os
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from rc_keras.export.folding.folded_network import ALL
from rc_keras.export.formats.file_digest import sha256
from rc_keras.export.formats.network import Network
from rc_keras.export.formats.tflite.file import TFLiteFile
from rc_keras.export.formats.tflite.weight_cache import open_with_cache

if TYPE_CHECKING:
    from ai_edge_litert.compiled_model import CompiledModel

# Bits of XNNPACK's delegate in LiteRT: its defaults (signed and unsigned integers, dynamic fully connected layers), and
# indirection buffers that are made for a run and not kept for every task: 50 MB less for five tasks at 256 x 256.
_FLAGS = 1 | 2 | 8 | 32


class LiteRTNetwork(Network):
    """The tasks of a .tflite file.

    LiteRT packs weights anew for every task that reads them. Here the tasks share one file of packed weights, mapped
    into memory, that is made when a network is first opened and found again by the SHA-256 of the `.tflite`; it is
    about as large (for float16, which is computed in float32, twice). Old ones may be deleted at any time. Files with
    a free image size go by LiteRT's `Interpreter`, since `CompiledModel` does not take outputs of unknown size; so does
    everything where `CompiledModel` is missing or refuses the file. Answers are the same, memory is not shared.

    Example:

    >>> with LiteRTNetwork("model.tflite") as network:
    ...     edges = network.run(image, "edge")

    Args:
        path: a file that `rc_keras.export.litert` wrote.
        threads: how many to compute with; `None`: LiteRT's choice.
        cache_dir: folder of the packed weights; `None`: `rc_keras/litert` in the user's folder of caches, or, if that
            cannot be written, a temporary one.

    Attributes:
        runtime: `"CompiledModel"` or `"Interpreter"`, by which the file is run.

    Raises:
        FileNotFoundError: if there is no file at `path`.
        ValueError: if it is damaged or from elsewhere, or `threads` is not positive.
        ImportError: without ai-edge-litert; names what to install.
        OSError: if `cache_dir` is given and cannot be written.
    """

    def __init__(
        self, path: str | os.PathLike, threads: int | None = None, cache_dir: str | os.PathLike | None = None
    ) -> None:
        if threads is not None and not (isinstance(threads, int) and threads > 0):
            raise ValueError(f"`threads` must be a positive integer, or None. Received: threads={threads!r}")
        path = os.fspath(path)
        file = _read(path)
        super().__init__(file.metadata or {}, file.description)
        self._joint = ALL in file.operators
        model = None if None in self._image_shape else _open_compiled(path, threads, cache_dir)
        self.runtime = "Interpreter" if model is None else "CompiledModel"
        self._run: Callable[[str, np.ndarray], dict[str, np.ndarray]] = (
            _Interpreted(path, threads) if model is None else _Compiled(model)
        )

    def _answers(self, images: np.ndarray, task: str) -> np.ndarray:
        return self._answers_of(images, task)[task]

    def _answers_of_all(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return self._answers_of(images, ALL) if self._joint else super()._answers_of_all(images)

    def _answers_of(self, images: np.ndarray, signature: str) -> dict[str, np.ndarray]:
        answers = [self._answer(images[i : i + 1], signature) for i in range(len(images))]
        tasks = [task for task in self.tasks if task in answers[0]]
        return {task: np.concatenate([answer[task] for answer in answers]) for task in tasks}

    def _answer(self, image: np.ndarray, signature: str) -> dict[str, np.ndarray]:
        # A task has one set of activations. `CompiledModel` keeps other threads of Python waiting anyway.
        with self._lock:
            self._check_open()
            return self._run(signature, image)

    def _free(self) -> None:
        vars(self).pop("_run", None)


def _read(path: str) -> TFLiteFile:
    """The file, if it is one of ours and whole."""
    try:
        file = TFLiteFile(path)
    except ImportError as error:
        raise ImportError("Running .tflite files needs ai-edge-litert: pip install rc_keras[litert]") from error
    if file.metadata is None:
        raise ValueError(
            f"`path` must be a file that rc_keras.export.litert wrote. Received: path={path!r}, a .tflite file from "
            "elsewhere"
        )
    if not file.whole:
        raise ValueError(
            f"`path` must be a file as rc_keras.export.litert wrote it. Received: path={path!r}, which is damaged, or "
            "was changed"
        )
    return file


def _open_compiled(path: str, threads: int | None, cache_dir: str | os.PathLike | None) -> "CompiledModel | None":
    """The `CompiledModel` of the file, or `None` where there cannot be one."""
    try:
        from ai_edge_litert.compiled_model import CompiledModel, CpuOptions, Options
    except ImportError:
        return None

    def open_model(weights: str) -> "CompiledModel":
        options = CpuOptions(num_threads=threads or 0, xnnpack_flags=_FLAGS, xnnpack_weight_cache_path=weights)
        return CompiledModel.from_file(path, options=Options(cpu_options=options))

    # What packed weights look like is a matter of the version.
    key = f"{sha256(path)}-{importlib.metadata.version('ai-edge-litert')}"
    try:
        try:
            return open_with_cache(open_model, cache_dir or _user_cache(), key)
        except OSError:
            if cache_dir is not None:
                raise
            with tempfile.TemporaryDirectory() as folder:  # mapped files outlive their names
                return open_with_cache(open_model, folder, key)
    except RuntimeError:
        return None


def _user_cache() -> str:
    root = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(root, "rc_keras", "litert")


class _Compiled:
    """Runs signatures of a `CompiledModel`, in buffers that are kept."""

    def __init__(self, model: "CompiledModel") -> None:
        self._model = model
        self._buffers: dict[str, tuple[list[Any], list[Any]]] = {}  # of the inputs and the outputs

    def __call__(self, signature: str, frame: np.ndarray) -> dict[str, np.ndarray]:
        index = self._model.get_signature_index(signature)
        if signature not in self._buffers:
            self._buffers[signature] = self._model.create_input_buffers(index), self._model.create_output_buffers(index)
        inputs, outputs = self._buffers[signature]
        inputs[0].write(frame)
        self._model.run_by_index(index, inputs, outputs)
        details = self._model.get_output_tensor_details(signature)
        answers = {}
        for name, buffer in zip(self._model.get_signature_list()[signature]["outputs"], outputs, strict=True):
            shape, dtype = details[name]["shape"], np.dtype(details[name]["dtype"])
            answers[name] = buffer.read(int(np.prod(shape)), dtype).reshape(shape)
        return answers


class _Interpreted:
    """Runs signatures in an `Interpreter`."""

    def __init__(self, path: str, threads: int | None) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_path=path, num_threads=threads)
        self._runners: dict[str, Callable[..., dict[str, np.ndarray]]] = {}

    def __call__(self, signature: str, frame: np.ndarray) -> dict[str, np.ndarray]:
        if signature not in self._runners:
            self._runners[signature] = self._interpreter.get_signature_runner(signature)
        return self._runners[signature](image=frame)
