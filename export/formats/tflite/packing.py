"""Last changes to a converted .tflite file: biases of their own, vectors shared, and what it says about itself."""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import flatbuffers
import numpy as np

from rc_keras.export.formats.tflite.signatures import arrange

if TYPE_CHECKING:
    from ai_edge_litert.schema_py_generated import ModelT, OperatorT, SubGraphT


def repack(content: bytes, entries: Mapping[str, bytes], signatures: Mapping[str, Sequence[str]]) -> bytes:
    """Writes a .tflite file anew, with the same network.

    - Integer convolutions and products that share a kernel get a bias buffer each, of zeros where they had none.
      XNNPACK knows packed weights by the addresses of kernel and bias; scales and the zero point of the input are
      packed with them: those that share both would answer with the first one's.
    - Equal vectors of quantization parameters are written once: those of a shared kernel, and all zero points.
    - Signatures come in the order given, see `arrange`.
    - Metadata entries are added.

    Args:
        content: the file, bytes.
        entries: `{name: bytes}`.
        signatures: see `arrange`.

    Returns:
        The new file, bytes.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content)
    _separate_biases(model, schema)
    arrange(model, signatures)
    model.metadata = list(model.metadata or [])
    for name, data in entries.items():
        model.metadata.append(schema.MetadataT(name=name, buffer=len(model.buffers)))
        model.buffers.append(schema.BufferT(data=np.frombuffer(data, "uint8")))
    return pack(model, len(content))


def pack(model: "ModelT", size: int = 1024) -> bytes:
    """The bytes of a .tflite file; `size`, about how many there will be, saves copies."""
    builder = _SharingBuilder(size)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _separate_biases(model: "ModelT", schema: ModuleType) -> None:
    taken = set()
    for subgraph in model.subgraphs:
        for operator in subgraph.operators:
            if model.operatorCodes[operator.opcodeIndex].builtinCode == schema.BuiltinOperator.FULLY_CONNECTED:
                _give_bias(model, subgraph, operator, schema)
            if len(operator.inputs) < 3:
                continue
            kernel, bias = (subgraph.tensors[i] for i in operator.inputs[1:3])
            if kernel.type != schema.TensorType.INT8 or bias.type != schema.TensorType.INT32:
                continue
            if bias.buffer in taken:
                model.buffers.append(schema.BufferT(data=model.buffers[bias.buffer].data))
                bias.buffer = len(model.buffers) - 1
            taken.add(bias.buffer)


def _give_bias(model: "ModelT", subgraph: "SubGraphT", operator: "OperatorT", schema: ModuleType) -> None:
    """Gives an integer product of a constant matrix a bias of zeros, if it has none."""
    x, kernel = (subgraph.tensors[i] for i in operator.inputs[:2])
    constant = model.buffers[kernel.buffer].data is not None
    if {x.type, kernel.type} != {schema.TensorType.INT8} or not constant or any(i >= 0 for i in operator.inputs[2:]):
        return
    scales = np.float32(x.quantization.scale) * np.float32(kernel.quantization.scale)
    bias = schema.TensorT(
        name=kernel.name + b"_bias",
        type=schema.TensorType.INT32,
        shape=[kernel.shape[0]],
        buffer=len(model.buffers),
        quantization=schema.QuantizationParametersT(scale=scales, zeroPoint=np.zeros(len(scales), "int64")),
    )
    model.buffers.append(schema.BufferT(data=np.zeros(4 * kernel.shape[0], "uint8")))
    operator.inputs = [*operator.inputs[:2], len(subgraph.tensors)]
    subgraph.tensors.append(bias)


class _SharingBuilder(flatbuffers.Builder):
    """Writes equal vectors of numbers once, and weights at the addresses that the format promises."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._written: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: np.ndarray) -> int:
        if x.dtype == "uint8":  # weights: they are told apart by their addresses, so never shared here
            self.Prep(16, x.nbytes)
            return super().CreateNumpyVector(x)
        key = (x.dtype.str, x.tobytes())
        if key not in self._written:
            self._written[key] = super().CreateNumpyVector(x)
        return self._written[key]
