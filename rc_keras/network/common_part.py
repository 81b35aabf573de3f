"""What the branches of all tasks compute alike, split off so that it is computed once."""

import inspect
from collections.abc import Callable, Collection, Iterable
from typing import Any

import keras

from rc_keras.layers import BankConv2D, Frozen

IMAGE = "image"


class Split:
    """A network in two: what other networks compute as well, and the rest.

    Common is every call of a layer that computes the same in all networks, on nothing but what is common itself. It
    begins with the image.

    Args:
        network: a functional `keras.Model` with one input.
        is_alike: function of a layer: whether it computes the same in all networks.
        prefix: what its layers' names begin with and those of other networks do not, e.g. `"depth__"`.
        names: of the layers, without the prefix, that may be common; `None`: all that are alike.

    Attributes:
        common: `{name: KerasTensor}` of the common part, on an image of its own. The name is that of the layer
            without the prefix, with a number where it has several outputs or is called again; of the image `IMAGE`.
        inputs: `{name: KerasTensor}`, what the rest takes of it.
        layers: names of the layers whose calls are common.
    """

    def __init__(
        self,
        network: keras.Model,
        is_alike: Callable[[keras.Operation], bool],
        prefix: str = "",
        names: Collection[str] | None = None,
    ) -> None:
        image = keras.Input(batch_shape=network.inputs[0].shape, dtype=network.inputs[0].dtype, name=IMAGE)
        self.common: dict[str, keras.KerasTensor] = {IMAGE: image}
        self.inputs: dict[str, keras.KerasTensor] = {}
        self.layers: set[str] = set()
        known = {id(image): IMAGE}  # of the tensors in `common`

        def take(tensors: Any) -> None:
            for tensor in keras.tree.flatten(tensors):
                if id(tensor) in known:
                    self.inputs[known[id(tensor)]] = tensor

        def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
            tensors = [t for t in keras.tree.flatten((args, kwargs)) if isinstance(t, keras.KerasTensor)]
            name = layer.name.removeprefix(prefix)
            listed = names is None or name in names
            if not (listed and is_alike(layer) and all(id(t) in known for t in tensors)):
                take((args, kwargs))
                return layer(*args, **kwargs)
            self.layers.add(layer.name)
            outputs = layer(*args, **kwargs)
            for tensor in keras.tree.flatten(outputs):
                key, count = name, 1
                while key in self.common:
                    key, count = f"{name}_{count}", count + 1
                self.common[key], known[id(tensor)] = tensor, key
            return outputs

        walked = keras.models.clone_model(
            network, input_tensors=image, clone_function=lambda layer: layer, call_function=call
        )
        self._output = walked.output
        take(self._output)
        self._name = network.name

    def common_model(self, names: Iterable[str]) -> keras.Model:
        """A functional `keras.Model` on the same layers, from the image to `{name: tensor}`, without the image."""
        outputs = {name: self.common[name] for name in names if name != IMAGE}
        return keras.Model(self.common[IMAGE], outputs, name="common_part")

    @property
    def rest(self) -> keras.Model:
        """A functional `keras.Model` on the same layers, from `{name: tensor}` to the output of the network."""
        rest = keras.Model(list(self.inputs.values()), self._output)
        inputs = {
            name: keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=name)
            for name, tensor in self.inputs.items()
        }
        named = keras.models.clone_model(rest, input_tensors=list(inputs.values()), clone_function=lambda layer: layer)
        return keras.Model(inputs, named.output, name=self._name)


def is_alike(layer: keras.Operation) -> bool:
    """Whether a layer of a branch computes in all branches what the layer of its template does.

    The bank does, and what has no state and does not ask whether it is trained.
    """
    if isinstance(layer, (BankConv2D, Frozen)):
        return True
    return not getattr(layer, "variables", ()) and "training" not in inspect.signature(layer.call).parameters


def common_part(template: keras.Model) -> keras.Model | None:
    """The part of a bank's template that the branches of all tasks compute alike.

    Args:
        template: a `FilterBank.template`.

    Returns:
        A functional `keras.Model` on the same layers, from the image to `{name: what the rest takes}`, without the
        image itself; `None` where the part holds nothing of the bank.
    """
    split = Split(template, is_alike)
    shared = {layer.name for layer in template.layers if isinstance(layer, (BankConv2D, Frozen))}
    if shared.isdisjoint(split.layers):
        return None
    return split.common_model(split.inputs)


def call_rest(rest: keras.Model, features: Any, training: bool) -> Any:
    """Calls a `Split.rest` with what it takes of the common part, or a whole network with images."""
    if isinstance(features, dict):
        features = {name: features[name] for name in rest.input}
    return rest(features, training=training)
