"""Weights outside the graph: files of arrays, each at the start of a page, that onnxruntime maps into memory."""

import hashlib
from collections.abc import Container, Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

PAGE = 4096
_SMALLEST = 1024  # bytes of an array worth a place outside the graph


def lay_out(arrays: Mapping[str, np.ndarray]) -> tuple[bytearray, dict[str, tuple[int, int]]]:
    """Places arrays in a file, by name, equal ones once.

    Args:
        arrays: `{name: array}`.

    Returns:
        `(content, places)`: bytes, and `{name: (offset, length)}`.
    """
    content = bytearray()
    places: dict[str, tuple[int, int]] = {}
    known: dict[bytes, tuple[int, int]] = {}
    for name in sorted(arrays):
        data = np.ascontiguousarray(arrays[name])
        key = digest(data)
        if key not in known:
            content.extend(bytes(-len(content) % PAGE))
            known[key] = (len(content), data.nbytes)
            content.extend(data.tobytes())
        places[name] = known[key]
    return content, places


def digest(data: bytes | bytearray | np.ndarray) -> bytes:
    """By which equal arrays are known: SHA-256."""
    return hashlib.sha256(data).digest()


def own_arrays(model: "onnx.ModelProto", shared: Container[str]) -> dict[str, np.ndarray]:
    """The large arrays of a graph that are not shared, `{name: array}`."""
    from onnx import numpy_helper

    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.name not in shared and len(tensor.dims) > 1 and len(tensor.raw_data) >= _SMALLEST
    }


def refer(model: "onnx.ModelProto", file: str, content: bytearray, places: Mapping[str, tuple[int, int]]) -> None:
    """Makes the arrays of a graph references into a file, those that are in it bit for bit.

    Args:
        model: the `onnx.ModelProto`.
        file: name of the file, in the folder of the model.
        content, places: from `lay_out`.
    """
    from onnx import TensorProto

    for tensor in model.graph.initializer:
        if tensor.name not in places or tensor.data_location == TensorProto.EXTERNAL:
            continue
        offset, length = places[tensor.name]
        if tensor.raw_data == content[offset : offset + length]:
            _refer(tensor, file, places[tensor.name])


def refer_by_content(model: "onnx.ModelProto", known: Mapping[bytes, tuple[str, tuple[int, int]]]) -> None:
    """Makes the large arrays of a graph references into the files that hold the same bytes, whatever their name.

    Args:
        model: the `onnx.ModelProto`.
        known: `{digest: (name of the file, (offset, length))}`.
    """
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) >= _SMALLEST and (key := digest(tensor.raw_data)) in known:
            _refer(tensor, *known[key])


def _refer(tensor: "onnx.TensorProto", file: str, place: tuple[int, int]) -> None:
    from onnx import TensorProto

    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", file), ("offset", place[0]), ("length", place[1])):
        tensor.external_data.add(key=key, value=str(value))


def references(model: "onnx.ModelProto", file: str) -> dict[str, tuple[int, int]]:
    """`{name: (offset, length)}` of the arrays of a graph that stand in a file."""
    found = {}
    for tensor in model.graph.initializer:
        place = {entry.key: entry.value for entry in tensor.external_data}
        if place.get("location") == file:
            found[tensor.name] = (int(place["offset"]), int(place["length"]))
    return found
