"""Which operators of a .tflite file LiteRT's delegate for CPUs, XNNPACK, leaves to LiteRT."""

import collections
import copy
import os
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rc_keras.export.formats.tflite.packing import pack

if TYPE_CHECKING:
    from ai_edge_litert.schema_py_generated import ModelT

_DELEGATE = "DELEGATE"  # how LiteRT calls the node that runs the operators that the delegate took


def operators_outside(path: str | os.PathLike, signatures: Container[str]) -> dict[str, dict[str, int] | None]:
    """Counts, in the interpreter itself, what is not run by the delegate.

    Args:
        path: a .tflite file with an image size that is not free.
        signatures: names of those to look at.

    Returns:
        `{signature: {operator: count}}`; `None` instead of the counts where this LiteRT does not tell.
    """
    return {name: _outside(content) for name, content in _one_by_one(path, signatures)}


def _one_by_one(path: str | os.PathLike, signatures: Container[str]) -> Iterator[tuple[str, bytes]]:
    """The signatures as files of their own: LiteRT tells of the nodes of the first subgraph only."""
    from ai_edge_litert import schema_py_generated as schema

    with open(path, "rb") as file:
        model = schema.ModelT.InitFromPackedBuf(file.read())
    for signature in model.signatureDefs:
        name = signature.signatureKey.decode()
        if name in signatures:
            yield name, pack(_only(model, signature.subgraphIndex))


def _only(model: "ModelT", index: int) -> "ModelT":
    """The model with one of its subgraphs, and the arrays of that."""
    part = copy.copy(model)
    part.subgraphs, part.signatureDefs, part.metadata = [model.subgraphs[index]], [], []
    used = {tensor.buffer for tensor in model.subgraphs[index].tensors}
    part.buffers = [buffer if at in used else type(buffer)() for at, buffer in enumerate(model.buffers)]
    return part


def _outside(content: bytes) -> dict[str, int] | None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    if not hasattr(interpreter, "_get_ops_details"):
        return None
    interpreter.allocate_tensors()  # lets the delegate take what it knows
    return count_outside(interpreter._get_ops_details())


def count_outside(nodes: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Counts the operators that no delegate took.

    Args:
        nodes: `{"op_name": …, "inputs": …, "outputs": …}` of all nodes, with indices of tensors; those that run the
            operators a delegate took are among them, and these operators too.

    Returns:
        `{operator: count}`.
    """
    makers = {tensor: at for at, node in enumerate(nodes) if node["op_name"] != _DELEGATE for tensor in node["outputs"]}
    taken: set[int] = set()
    for delegate in nodes:
        if delegate["op_name"] == _DELEGATE:
            known, open_ends = set(delegate["inputs"]), list(delegate["outputs"])
            while open_ends:
                at = makers[open_ends.pop()]
                if at not in taken:
                    taken.add(at)
                    open_ends += [x for x in nodes[at]["inputs"] if x in makers and x not in known]
    left = [node["op_name"] for at, node in enumerate(nodes) if node["op_name"] != _DELEGATE and at not in taken]
    return dict(sorted(collections.Counter(left).items()))
