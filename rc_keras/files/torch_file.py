"""Reads the tensors of a torch `.pth` file without torch and without executing anything in it."""

import io
import math
import os
import pickle
import pickletools
import zipfile
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

_STORAGE_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}
_WRAPPERS = ("state_dict", "model")
_RESAVE = "torch.save(module.state_dict(), path)"


def read_torch_file(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads a state dict saved by `torch.save` in its zip format (torch 1.6 and later).

    The file's pickle may build dictionaries, tensors and parameters and nothing else; it never
    executes anything. A state dict wrapped as `{"state_dict": ...}` or `{"model": ...}` is
    unwrapped, and the prefix `module.` of data-parallel training is removed.

    Args:
        path: path of the file.

    Returns:
        Dictionary of arrays, which are read-only and may be strided views. bfloat16 tensors are
        widened to float32.

    Raises:
        ValueError: if the file is damaged, is in torch's older format, holds anything but tensors,
            or asks for a global that a state dict does not need.
    """
    with open(path, "rb") as file:
        if not file.read(4).startswith(b"PK"):
            raise ValueError(
                f"{path} is not in torch's zip format: it was saved by torch before 1.6, or is "
                "no torch file. Re-save it with torch: "
                'torch.save(torch.load(path, map_location="cpu", weights_only=True), new_path)'
            )
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_archive(archive)
    except _Refused as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    except Exception as error:  # a damaged archive or pickle makes the standard library raise nearly anything
        raise ValueError(f"{path} is damaged or incomplete: {type(error).__name__}: {error}") from error


class _Refused(Exception):
    """The file is intact, but holds what is not read."""


class _Storage(NamedTuple):
    key: str
    kind: str
    numel: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Dict(dict):
    """A dictionary that drops the attributes (`_metadata`) torch pickles with a state dict."""

    def __setstate__(self, state: object) -> None:
        pass


class _StateDictUnpickler(pickle.Unpickler):
    """Answers descriptions of tensors; no byte of them is read here."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGE_DTYPES:
            return name
        # New functions at every call: a pickle can set attributes of what it is given.
        allowed = {
            ("collections", "OrderedDict"): lambda *pairs: _Dict(*pairs),
            ("torch._utils", "_rebuild_tensor_v2"): lambda *args: _rebuild_tensor(*args[:4]),
            ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
        }
        if (module, name) in allowed:
            return allowed[module, name]
        if module == "torch" and name.endswith("Storage"):
            raise _Refused(f"torch.{name} is not supported, only {sorted(_STORAGE_DTYPES)}.")
        raise _Refused(
            f"it asks for the forbidden global '{module}.{name}'. Nothing was executed. A file of "
            "weights holds tensors only; if you trust its source, save those alone with torch: "
            f"{_RESAVE}"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage_type, key, _, numel = pid
        if kind != "storage" or storage_type not in _STORAGE_DTYPES or not isinstance(key, str):
            raise ValueError("a tensor has an unknown kind of storage")
        return _Storage(key, storage_type, _natural(numel))


def _rebuild_tensor(storage: object, offset: object, shape: Sequence[object], strides: Sequence[object]) -> _Tensor:
    if not isinstance(storage, _Storage) or len(shape) != len(strides):
        raise ValueError("a tensor has no storage, or not one stride for each dimension")
    return _Tensor(storage, _natural(offset), _naturals(shape), _naturals(strides))


def _natural(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError("a size, offset or stride is not a natural number")
    return value


def _naturals(values: Iterable[object]) -> tuple[int, ...]:
    return tuple(_natural(value) for value in values)


def _read_archive(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    _check_entries(archive)
    roots = [name[: -len("data.pkl")] for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise _Refused("it is a zip archive, but holds no state dict (data.pkl).")
    root = roots[0]
    if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
        raise _Refused(f"its numbers are big-endian. Re-save it on another machine: {_RESAVE}")
    pickled = archive.read(f"{root}data.pkl")
    _check_sizes(pickled)
    entries = _unwrap(_StateDictUnpickler(io.BytesIO(pickled)).load())
    storages: dict[_Storage, np.ndarray] = {}
    arrays = {}
    for name, tensor in entries.items():
        storage = tensor.storage
        if storage not in storages:
            storages[storage] = _read_storage(archive, root, storage)
        arrays[name] = _view(name, storages[storage], tensor)
    return arrays


def _check_entries(archive: zipfile.ZipFile) -> None:
    entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise _Refused(f"its entries are compressed, which torch never does. Re-save it with torch: {_RESAVE}")
    if sum(entry.file_size for entry in entries) > os.path.getsize(cast(str, archive.filename)):
        raise ValueError("the entries are larger than the file")
    if len({entry.filename for entry in entries}) != len(entries):
        raise ValueError("two entries have the same name")


def _check_sizes(pickled: bytes) -> None:
    """Reads the pickle's instructions without obeying them, which checks all lengths they state."""
    for opcode, argument, _ in pickletools.genops(pickled):
        # The unpickler makes a table as long as the highest index.
        if opcode.name.endswith("PUT") and isinstance(argument, int) and argument > len(pickled):
            raise ValueError(f"the pickle numbers one of its objects {argument}")


def _unwrap(content: Any) -> dict[str, _Tensor]:
    for key in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not content:
        raise _Refused(f"it holds no dictionary of tensors. Save one with torch: {_RESAVE}")
    if not all(isinstance(name, str) for name in content):
        raise _Refused(f"not all entries have a name. Save a state dict with torch: {_RESAVE}")
    others = [name for name, value in content.items() if not isinstance(value, _Tensor)]
    if others:
        raise _Refused(f"these entries are not tensors: {others}. Save a state dict with torch: {_RESAVE}")
    prefix = "module." if all(name.startswith("module.") for name in content) else ""
    return {name.removeprefix(prefix): tensor for name, tensor in content.items()}


def _read_storage(archive: zipfile.ZipFile, root: str, storage: _Storage) -> np.ndarray:
    data = archive.read(f"{root}data/{storage.key}")
    name = _STORAGE_DTYPES[storage.kind]
    dtype = np.dtype("<u2" if name == "bfloat16" else name)
    if len(data) != storage.numel * dtype.itemsize:
        raise ValueError(
            f"storage '{storage.key}' has {len(data)} bytes, but should have {storage.numel} x {dtype.itemsize}"
        )
    values = np.frombuffer(data, dtype)
    if name == "bfloat16":
        # bfloat16 is the upper half of a float32.
        values = (values.astype(np.uint32) << 16).view(np.float32)
        values.flags.writeable = False
    return values


def _view(name: str, values: np.ndarray, tensor: _Tensor) -> np.ndarray:
    numel = math.prod(tensor.shape)
    if numel == 0:
        return np.empty(tensor.shape, values.dtype)
    last = tensor.offset + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))
    if last >= values.size or numel > values.size:
        raise ValueError(
            f"tensor '{name}' of shape {tensor.shape} reaches beyond its storage of {values.size} elements"
        )
    return np.lib.stride_tricks.as_strided(
        values[tensor.offset :],
        tensor.shape,
        [stride * values.itemsize for stride in tensor.strides],
        writeable=False,
    )
