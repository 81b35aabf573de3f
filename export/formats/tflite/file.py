"""What stands in a .tflite file: signatures, operators, kernels, and what the file says about itself."""

import collections
import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING

import flatbuffers
import numpy as np

from rc_keras.export.formats import description, file_digest
from rc_keras.export.formats.metadata import NAME

if TYPE_CHECKING:
    from ai_edge_litert.schema_py_generated import OperatorCodeT


class TFLiteFile:
    """A .tflite file, read without running it.

    Args:
        path: the file.

    Attributes:
        bytes: size of the file.
        operators: `{signature: {operator: count}}`. Operators that are not TFLite's own go by their custom name.
        metadata: what the exporter said about the file, see `metadata`; `None` in files from elsewhere.
        description: what it said to others, see `description`; `None` in files from elsewhere and of earlier
            versions.
        whole: whether every bit is as the exporter wrote it.

    Raises:
        ValueError: if it is no .tflite file, or is damaged as far as its structure tells.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        from ai_edge_litert import schema_py_generated as schema

        with open(path, "rb") as file:
            content = file.read()
        self.bytes = os.path.getsize(path)
        if content[4:8] != b"TFL3":
            raise ValueError(f"`path` must be a .tflite file. Received: path={os.fspath(path)!r}, which is none")
        try:
            self._read(content, schema)
        except Exception as error:  # offsets that point anywhere: whatever can go wrong does
            raise ValueError(
                f"`path` must be a whole .tflite file. Received: path={os.fspath(path)!r}, which is damaged"
            ) from error

    def count_kernel(self, kernel: np.ndarray, signatures: Iterable[str] | None = None) -> int:
        """In how many different arrays of the file a convolution kernel is stored.

        A stored array counts if it is the kernel, rounded as its type demands: not at all, to the nearest half
        precision number, or to the nearest multiple of the scale of the output channel.

        Args:
            kernel: `(k_h, k_w, c_in, c_out)`; TFLite's layout has c_out first.
            signatures: names of the signatures that must use it, with the same scales; `None`: all. If one does not,
                the count is 0.
        """
        kernel = kernel.transpose(3, 0, 1, 2)
        found = []
        for name in self.operators if signatures is None else signatures:
            candidates = self._constants[name].get(kernel.shape, ())
            matches = {constant.key for constant in candidates if constant.holds(kernel)}
            if not matches:
                return 0
            found.append(matches)
        return len(set().union(*found))

    def _read(self, content: bytes, schema: ModuleType) -> None:
        model = schema.ModelT.InitFromPackedBuf(content)
        names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
        types = {
            schema.TensorType.FLOAT32: "float32",
            schema.TensorType.FLOAT16: "float16",
            schema.TensorType.INT8: "int8",
        }
        codes = [_operator_name(code, names) for code in model.operatorCodes]
        self.operators: dict[str, dict[str, int]] = {}
        self._constants: dict[str, dict[tuple[int, ...], list[_Constant]]] = {}
        for signature in model.signatureDefs or []:
            subgraph, key = model.subgraphs[signature.subgraphIndex], signature.signatureKey.decode()
            counts = collections.Counter(codes[operator.opcodeIndex] for operator in subgraph.operators)
            self.operators[key] = dict(sorted(counts.items()))
            constants = collections.defaultdict(list)
            for tensor in subgraph.tensors:
                data = model.buffers[tensor.buffer].data
                if data is not None and tensor.type in types:
                    scale = tensor.quantization.scale if tensor.quantization else None
                    constant = _Constant(tensor.buffer, data.view(types[tensor.type]).reshape(tensor.shape), scale)
                    constants[constant.values.shape].append(constant)
            self._constants[key] = constants
        entries = {
            entry.name.decode(): model.buffers[entry.buffer].data.tobytes()
            for entry in model.metadata or []
            if entry.name.decode() in (NAME, description.NAME, file_digest.NAME)
        }
        self.metadata = json.loads(entries[NAME]) if NAME in entries else None
        self.description = json.loads(entries[description.NAME]) if description.NAME in entries else None
        self.whole = file_digest.is_whole(content, entries.get(file_digest.NAME, b""))


def signature_bytes(path: str | os.PathLike, key: str) -> int:
    """The size of a signature's graph in a .tflite file, and of the arrays that no other signature uses."""
    from ai_edge_litert import schema_py_generated as schema

    with open(path, "rb") as file:
        model = schema.ModelT.InitFromPackedBuf(file.read())
    (index,) = (s.subgraphIndex for s in model.signatureDefs if s.signatureKey.decode() == key)
    own, *others = (
        {tensor.buffer for tensor in subgraph.tensors}
        for subgraph in (model.subgraphs[index], *model.subgraphs[:index], *model.subgraphs[index + 1 :])
    )
    builder = flatbuffers.Builder()
    builder.Finish(model.subgraphs[index].Pack(builder))
    arrays = [model.buffers[buffer].data for buffer in own.difference(*others)]
    return len(builder.Output()) + sum(data.nbytes for data in arrays if data is not None)


@dataclasses.dataclass(frozen=True)
class _Constant:
    """A stored array as one signature reads it; `scale` is that of each output channel."""

    buffer: int
    values: np.ndarray
    scale: np.ndarray | None

    @property
    def key(self) -> tuple[int, bytes | None]:
        """What two signatures have in common if they share the array."""
        return self.buffer, None if self.scale is None else self.scale.tobytes()

    def holds(self, kernel: np.ndarray) -> bool:
        if self.values.dtype != "int8":
            return np.array_equal(self.values, kernel.astype(self.values.dtype))
        scale = np.reshape(self.scale, (-1, 1, 1, 1))
        # Half a step, and what float32 rounds off in dividing by the scale.
        return bool(np.all(np.abs(self.values * scale - kernel) <= 0.501 * scale))


def _operator_name(code: "OperatorCodeT", names: Mapping[int, str]) -> str:
    name = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
    return code.customCode.decode() if name == "CUSTOM" else name
