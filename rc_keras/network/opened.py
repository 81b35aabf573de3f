"""Networks without networks in them: nested models, and layers made of layers, as the layers they are made of."""

import inspect
import re
from collections.abc import Callable, Collection
from typing import Any

import keras

from rc_keras.network.copies import copy_layer, copy_weights


def opened(network: keras.Model, composite_layers: bool = False, kept: Collection[str] = ()) -> keras.Model:
    """The same network with the layers of its nested models as its own.

    A layer keeps its name; where that is taken, it is called `<model>_<layer>`. Of a composite layer, such as
    `MultiHeadAttention`, the layers and operations are called `<composite layer>_<layer>`, if they are not yet, and
    numbered where Keras has made up the name.

    A model or layer is opened by its public `call`, on symbolic tensors. It stays closed where that does not tell all
    that it does: where it has weights that belong to no layer that it calls, computes something else in training, or
    asks for sizes of its inputs.

    Args:
        network: a functional `keras.Model`.
        composite_layers: whether composite layers are opened too.
        kept: names of models and layers that stay closed.

    Returns:
        A functional `keras.Model` that computes the same; itself if there is nothing to open. Layers that keep their
        name are those of `network`, others copies.
    """
    closed, found = set(kept), network
    opener = _Opener(found, composite_layers, closed)
    while any(map(opener.may_be_opened, found.layers)):
        found = walked(found, opener.call)
        opener.copy_weights()
        opener = _Opener(found, composite_layers, closed)
    return network if found is network else walked(found, _convert_no_more)


def is_composite(layer: keras.Operation) -> bool:
    """Whether a layer with weights is made of layers."""
    return isinstance(layer, keras.Layer) and bool(layer.weights) and _holds_layers(list(vars(layer).values()))


def walked(network: keras.Model, call: Callable[..., Any], inputs: Any = None) -> keras.Model:
    """The same network of the same layers, each called by `call(layer, *args, **kwargs)`; `inputs`: of other sizes."""
    return keras.models.clone_model(
        network, input_tensors=inputs, clone_function=lambda layer: layer, call_function=call
    )


def traced(layer: keras.Layer, args: Any, kwargs: Any, free_sizes: bool = False) -> keras.Model:
    """What a layer calls by its public `call`, as a functional model of a list of its inputs.

    What a layer of the user's own makes of symbolic tensors may raise any error.

    Args:
        layer: a layer or model.
        args, kwargs: what it is called with, symbolic tensors in it.
        free_sizes: whether the model takes inputs of other sizes too, in all axes but the first and the last.
    """

    def symbol(tensor: Any) -> Any:
        if not isinstance(tensor, keras.KerasTensor):
            return tensor
        shape = tuple(tensor.shape)
        if free_sizes:
            shape = (shape[0], *(None for _ in shape[1:-1]), *shape[-1:])
        return keras.Input(batch_shape=shape, dtype=tensor.dtype)

    inputs, settings = keras.tree.map_structure(symbol, (args, kwargs))
    return keras.Model(_tensors((inputs, settings)), layer.call(*inputs, **settings))


class _Opener:
    """Opens what lies at the top of a network; what is found not to open is added to `closed`."""

    def __init__(self, network: keras.Model, composite_layers: bool, closed: set[str]) -> None:
        self._composite_layers, self._closed = composite_layers, closed
        self._names = {operation.name for operation in network.operations}
        self._made: dict[int, tuple[keras.Operation, keras.Operation]] = {}  # by the id of what it was made of

    def may_be_opened(self, layer: keras.Operation) -> bool:
        if layer.name in self._closed:
            return False
        return _is_functional(layer) or (self._composite_layers and is_composite(layer))

    def call(self, layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        inside = self._inside(layer, args, kwargs) if self.may_be_opened(layer) else None
        if inside is None:
            self._closed.add(layer.name)
            return layer(*args, **kwargs)
        return inside.call(_tensors((args, kwargs)))

    def copy_weights(self) -> None:
        for source, copy in self._made.values():
            if copy is not source and getattr(source, "weights", None):
                copy_weights(source, copy)

    def _inside(self, layer: keras.Layer, args: Any, kwargs: Any) -> keras.Model | None:
        try:
            inside = _traced(layer, args, kwargs)
            if inside is None:
                return None
            return keras.models.clone_model(
                inside, clone_function=lambda part: self._part(layer, part), call_function=_with_numbers
            )
        except Exception:  # whatever a layer of the user's own makes of symbolic tensors
            return None

    def _part(self, outer: keras.Layer, part: keras.Operation) -> keras.Operation:
        if type(part) is keras.layers.Identity:  # which is not called either
            return part
        if id(part) not in self._made:
            keeps_name = _is_functional(outer) and part.name not in self._names
            name = part.name if keeps_name else f"{outer.name}_{_stem(part).removeprefix(f'{outer.name}_')}"
            stem, repetition = name, 1
            while name in self._names:
                name, repetition = f"{stem}_{repetition}", repetition + 1
            self._names.add(name)
            self._made[id(part)] = part, part if name == part.name else copy_layer(part, name=name)
        return self._made[id(part)][1]


def _is_functional(layer: keras.Operation) -> bool:
    return isinstance(layer, (keras.Function, keras.Sequential))


def _convert_no_more(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
    """Calls a layer, but not what models begin with, where it changes nothing."""
    outputs = layer(*args, **kwargs)
    return args[0] if type(layer).__name__ == "ConvertToTensor" and outputs.dtype == args[0].dtype else outputs


def _with_numbers(part: keras.Operation, *args: Any, **kwargs: Any) -> Any:
    """Calls it with numbers in the place of constants, which exporters would take for inputs; an identity is not."""

    def number(value: Any) -> Any:
        if isinstance(value, (keras.KerasTensor, keras.Variable)) or not keras.ops.is_tensor(value):
            return value
        array = keras.ops.convert_to_numpy(value)
        return array if array.ndim else array.item()

    if type(part) is keras.layers.Identity:
        return args[0]
    args, kwargs = keras.tree.map_structure(number, (args, kwargs))
    return part(*args, **kwargs)


def _traced(layer: keras.Layer, args: Any, kwargs: Any) -> keras.Model | None:
    """What a layer does with its inputs, at whatever size, as `traced`; `None` if it does more."""
    is_model = _is_functional(layer)

    def trace(**changes: Any) -> keras.Model:
        return traced(layer, args, {**kwargs, **changes}, free_sizes=not is_model)

    found = trace()
    if not {id(v) for v in layer.variables} <= {id(v) for v in found.variables}:
        return None
    if is_model:
        return found
    runs: list[tuple[keras.Model, bool | None]] = [(found, None)]
    if "training" in inspect.signature(layer.call).parameters:
        runs = [(trace(training=training), training) for training in (True, False)]
    calls = [_calls(*run) for run in runs]
    return found if None not in calls and calls[0] == calls[-1] else None


def _calls(inside: keras.Model, training: bool | None) -> list[Any] | None:
    """What is called, with the numbers and texts it is given; `None` where something is told another `training`."""
    calls: list[Any] = []
    told = []

    def record(part: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        told.append(kwargs.get("training"))
        settings = {} if isinstance(part, keras.Layer) else {**vars(part), "_name": None, "name": None}
        given = keras.tree.flatten((settings, args, {**kwargs, "training": None}))
        calls.append((type(part), [value for value in given if isinstance(value, (bool, int, float, str))]))
        return part(*args, **kwargs)

    walked(inside, record)
    return calls if set(told) <= {None, training} else None


def _tensors(structure: Any) -> list[keras.KerasTensor]:
    return [tensor for tensor in keras.tree.flatten(structure) if isinstance(tensor, keras.KerasTensor)]


def _holds_layers(part: Any) -> bool:
    if isinstance(part, dict):
        part = list(part.values())
    return any(map(_holds_layers, part)) if isinstance(part, (list, tuple)) else isinstance(part, keras.Layer)


def _stem(part: keras.Operation) -> str:
    """The name of a layer, without the number of one that Keras has made up."""
    stem = re.sub(r"_\d+$", "", part.name)
    return stem if stem.replace("_", "") == type(part).__name__.lower() else part.name
