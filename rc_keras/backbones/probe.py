"""The layers of a network as they are called, on an image of a size from which strides can be read."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import keras

_SIZE = 256  # that every usual stride divides


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a layer.

    Attributes:
        layer: the layer or operation.
        inputs, outputs: its tensors.
    """

    layer: keras.Operation
    inputs: list[keras.KerasTensor]
    outputs: list[keras.KerasTensor]


@dataclasses.dataclass(frozen=True)
class Probe:
    """What `probe` saw.

    Attributes:
        size: height and width of the image.
        calls: in the order they were made; the image is no call.
        outputs: of the network.
    """

    size: tuple[int, int]
    calls: list[Call]
    outputs: list[keras.KerasTensor]

    def stride(self, tensor: keras.KerasTensor) -> int | None:
        """Image size over size of a map, to the next power of two; `None` of what is no map, or of unequal strides.

        Stems without padding leave maps a little smaller than the image divided by a power of two.
        """
        shape = tensor.shape
        if len(shape) != 4 or not shape[1] or not shape[2]:
            return None
        rows, columns = (round(math.log2(own / size)) for own, size in zip(self.size, shape[1:3], strict=True))
        return 2**rows if rows == columns else None

    def maps(self, stride: int) -> list[int]:
        """Indices of the calls that answer one map, of this stride."""
        return [
            at
            for at, call in enumerate(self.calls)
            if len(call.outputs) == 1 and self.stride(call.outputs[0]) == stride
        ]


def probe(network: keras.Model) -> Probe:
    """Calls a network's layers, the same objects, on a symbolic image of 256x256.

    One that does not take it is called on an image of its own size.

    Args:
        network: a functional `keras.Model` with one image input.

    Raises:
        Exception: what the layers raise, if the network has no size of its own.
    """
    own = tuple(network.inputs[0].shape[1:3])
    try:
        return _probe(network, (_SIZE, _SIZE))
    except Exception:  # of layers that anyone wrote
        if None in own:
            raise
        return _probe(network, own)


def _probe(network: keras.Model, size: tuple[int, int]) -> Probe:
    calls: list[Call] = []

    def record(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        outputs = layer(*args, **kwargs)
        calls.append(Call(layer, list(_tensors((args, kwargs))), list(_tensors(outputs))))
        return outputs

    image = keras.Input((*size, network.inputs[0].shape[-1]))
    walked = keras.models.clone_model(
        network, input_tensors=image, clone_function=lambda layer: layer, call_function=record
    )
    return Probe(size, calls, list(_tensors(walked.output)))


def _tensors(structure: Any) -> Iterator[keras.KerasTensor]:
    return (tensor for tensor in keras.tree.flatten(structure) if isinstance(tensor, keras.KerasTensor))
