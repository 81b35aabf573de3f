"""Named tensors with metadata in one safetensors file, with a digest that tells damage."""

import hashlib
import json
import os
import struct
from collections.abc import Mapping

import numpy as np
import safetensors
import safetensors.numpy

from rc_keras.files.half_precision import in_precision, in_single_precision
from rc_keras.files.tensor_files import check_readable
from rc_keras.files.whole_files import write_whole
from rc_keras.version import __version__


def digest(tensors: Mapping[str, np.ndarray]) -> str:
    """sha256 over the sorted names, shapes, dtypes and bytes of arrays, as 64 hexadecimal digits."""
    sha256 = hashlib.sha256()
    for name in sorted(tensors):
        tensor = np.asarray(tensors[name], order="C")
        sha256.update(f"{name}{tensor.shape}{tensor.dtype}".encode())
        sha256.update(tensor.tobytes())
    return sha256.hexdigest()


def to_bytes(
    file_format: str, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str], dtype: str | None = None
) -> bytes:
    """The content of a file of `{name: array}` and `{key: text}`. Equal tensors and texts are equal bytes.

    Args:
        file_format: name and version of the format, kept in the metadata.
        dtype: the precision of the file, see `half_precision.in_precision`; kept in the metadata if it is not `None`.
    """
    metadata = {**metadata, "format": file_format, "rc_keras": __version__}
    tensors = in_precision(tensors, dtype)
    if dtype is not None:
        metadata["precision"] = dtype
    metadata["content"] = _content(tensors, metadata)
    return _in_order(safetensors.numpy.save({k: np.asarray(v, order="C") for k, v in tensors.items()}, metadata))


def write(path: str | os.PathLike, suffix: str, data: bytes) -> None:
    """Writes what `to_bytes` gave; the file, which must end in `suffix`, appears whole or not at all."""
    _check_suffix(path, suffix)
    write_whole(path, data)


def read(path: str | os.PathLike, suffix: str, file_format: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads a file that holds what `to_bytes` gave.

    Returns:
        `(tensors, metadata)`; what was rounded to half precision is float32 again.

    Raises:
        OSError: if there is no file, or it may not be read.
        ValueError: if the suffix or the format is another one, or the content is damaged.
    """
    _check_suffix(path, suffix)
    path = os.fspath(path)
    check_readable(path)
    try:
        with safetensors.safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:
        raise ValueError(f"{path} must be a safetensors file. It cannot be read: {error}") from error
    if metadata.get("format") != file_format:
        raise ValueError(f"{path} must have the format {file_format!r}. Received: {metadata.get('format')!r}")
    content = metadata.pop("content", None)
    if content != _content(tensors, metadata):
        raise ValueError(f"{path} is damaged: its content does not have the digest {content}")
    return in_single_precision(tensors) if "precision" in metadata else tensors, metadata


def _content(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    text = json.dumps(metadata, sort_keys=True)
    return hashlib.sha256(f"{digest(tensors)}{text}".encode()).hexdigest()


def _in_order(data: bytes) -> bytes:
    """The same file with sorted metadata: safetensors writes them in another order each time."""
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format aligns the tensors
    return b"".join([struct.pack("<Q", len(text)), text, memoryview(data)[8 + length :]])


def _check_suffix(path: str | os.PathLike, suffix: str) -> None:
    if not os.fspath(path).endswith(suffix):
        raise ValueError(f"`path` must end in {suffix!r}. Received: path={os.fspath(path)!r}")
