"""The order of the networks in a .tflite file, and the names of what goes in and out."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ai_edge_litert.schema_py_generated import ModelT


def arrange(model: "ModelT", signatures: Mapping[str, Sequence[str]]) -> None:
    """Puts signatures and their subgraphs in an order, in place; a client without signatures runs the first subgraph.

    Subgraphs get the names of their signatures, and tensors that go in and out the names they have there; outputs come
    in the order given. Subgraphs without a signature, those of control flow, come last.

    Args:
        model: the file.
        signatures: `{signature: names of its outputs}`, all of them, in the order wanted.
    """
    found = {signature.signatureKey.decode(): signature for signature in model.signatureDefs}
    model.signatureDefs = [found[name] for name in signatures]
    order = [signature.subgraphIndex for signature in model.signatureDefs]
    order += sorted(set(range(len(model.subgraphs))) - set(order))
    places = {before: place for place, before in enumerate(order)}
    _renumber(model, places)
    model.subgraphs = [model.subgraphs[before] for before in order]
    for signature, names in zip(model.signatureDefs, signatures.values(), strict=True):
        signature.subgraphIndex = places[signature.subgraphIndex]
        signature.outputs = sorted(signature.outputs, key=lambda output: names.index(output.name.decode()))
        subgraph = model.subgraphs[signature.subgraphIndex]
        subgraph.name = signature.signatureKey
        subgraph.outputs = np.array([output.tensorIndex for output in signature.outputs], "int32")
        for tensor in (*signature.inputs, *signature.outputs):
            subgraph.tensors[tensor.tensorIndex].name = tensor.name


def _renumber(model: "ModelT", places: Mapping[int, int]) -> None:
    """Follows the subgraphs that operators run, such as the body of a loop."""
    for subgraph in model.subgraphs:
        for operator in subgraph.operators:
            for options in filter(None, (operator.builtinOptions, operator.builtinOptions2)):
                for field, value in list(vars(options).items()):
                    if field.endswith("SubgraphIndex") or field == "subgraph":
                        setattr(options, field, places.get(value, value))
