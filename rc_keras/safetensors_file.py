"""Named tensors with metadata in one safetensors file, with a digest that tells damage."""

import hashlib
import json
import os
import struct

import numpy as np
import safetensors
import safetensors.numpy

from rc_keras.tensor_files import check_readable
from rc_keras.version import __version__
from rc_keras.whole_files import write_whole


def digest(tensors):
    """sha256 over the sorted names, shapes, dtypes and bytes of arrays, as 64 hexadecimal digits."""
    sha256 = hashlib.sha256()
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        sha256.update(f"{name}{tensor.shape}{tensor.dtype}".encode())
        sha256.update(tensor.tobytes())
    return sha256.hexdigest()


def write(path, suffix, file_format, tensors, metadata):
    """Writes `{name: array}` and `{key: text}`; the file appears whole or not at all. Equal content is equal bytes.

    Args:
        path: the file; must end in `suffix`.
        file_format: name and version of the format, kept in the metadata.
    """
    _check_suffix(path, suffix)
    metadata = {**metadata, "format": file_format, "rc_keras": __version__}
    metadata["content"] = _content(tensors, metadata)
    data = safetensors.numpy.save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, metadata)
    write_whole(path, _in_order(data))


def read(path: str | os.PathLike[str], suffix: str, file_format: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads a file of `write`.

    Returns:
        `(tensors, metadata)`.

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
    return tensors, metadata


def _content(tensors, metadata):
    text = json.dumps(metadata, sort_keys=True)
    return hashlib.sha256(f"{digest(tensors)}{text}".encode()).hexdigest()


def _in_order(data):
    """The same file with sorted metadata: safetensors writes them in another order each time."""
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format aligns the tensors
    return b"".join([struct.pack("<Q", len(text)), text, memoryview(data)[8 + length :]])


def _check_suffix(path, suffix):
    if not os.fspath(path).endswith(suffix):
        raise ValueError(f"`path` must end in {suffix!r}. Received: path={os.fspath(path)!r}")
