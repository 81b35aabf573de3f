"""What the branches of all tasks compute alike, split off so that it is computed once."""

import inspect
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import keras

from rc_keras.layers import BankConv2D, Frozen

IMAGE = "image"


class Split:
    """A network in two: what other networks compute as well, and the rest.

    Common is a layer that computes the same in all networks and is called on nothing but what is common itself, each
    time it is called. It begins with the image.

    Args:
        network: a functional `keras.Model` with one input.
        is_alike: function of a layer: whether it computes the same in all networks.
        prefix: what its layers' names begin with and those of other networks do not, e.g. `"depth__"`.
        names: of the layers, without the prefix, that may be common; `None`: all that are alike.
        calls: the `calls` of another network's split, which alone may be common and give the names; `None`: all may.

    Attributes:
        common: `{name: KerasTensor}` of the common part, on an image of its own. The name is that of the layer
            without the prefix, with a number where it has several outputs or is called again; of the image `IMAGE`.
        calls: `{what is called on what: names of its outputs}` of the common part. The order in which Keras walks
            through a network depends on all of it; with this, several networks have the same name for the same.
        inputs: `{name: KerasTensor}`, what the rest takes of it.
        layers: names of the layers that are common.
    """

    def __init__(
        self,
        network: keras.Model,
        is_alike: Callable[[keras.Operation], bool],
        prefix: str = "",
        names: Collection[str] | None = None,
        calls: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._name = network.name
        self._apart: set[str] = set()  # names of the layers that are called on something else too

        def may_be_common(layer: keras.Operation, name: str) -> bool:
            return name not in self._apart and (names is None or name in names) and is_alike(layer)

        while True:
            self._walk(network, may_be_common, prefix, calls)
            torn = self.layers & self._others
            if not torn:
                break
            self._apart |= {name.removeprefix(prefix) for name in torn}

    def _walk(
        self,
        network: keras.Model,
        may_be_common: Callable[[keras.Operation, str], bool],
        prefix: str,
        calls: Mapping[str, Sequence[str]] | None,
    ) -> None:
        image = keras.Input(batch_shape=network.inputs[0].shape, dtype=network.inputs[0].dtype, name=IMAGE)
        self.common: dict[str, keras.KerasTensor] = {IMAGE: image}
        self.calls: dict[str, list[str]] = {}
        self.inputs: dict[str, keras.KerasTensor] = {}
        self.layers: set[str] = set()
        self._others: set[str] = set()
        known = {id(image): IMAGE}  # of the tensors in `common`

        def take(tensors: Any) -> None:
            for tensor in keras.tree.flatten(tensors):
                if id(tensor) in known:
                    self.inputs[known[id(tensor)]] = tensor

        def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
            name = layer.name.removeprefix(prefix)
            tensors = [t for t in keras.tree.flatten((args, kwargs)) if isinstance(t, keras.KerasTensor)]
            common = may_be_common(layer, name) and all(id(t) in known for t in tensors)
            key = ""
            if common:
                on = keras.tree.map_structure(lambda t: f"<{known[id(t)]}>" if id(t) in known else t, (args, kwargs))
                key = f"{name}{on}"
                common = calls is None or key in calls
            outputs = layer(*args, **kwargs)
            if not common:
                self._others.add(layer.name)
                take((args, kwargs))
                return outputs
            self.layers.add(layer.name)
            flat = keras.tree.flatten(outputs)
            self.calls[key] = self._new_names(name, len(flat)) if calls is None else list(calls[key])
            for output, tensor in zip(self.calls[key], flat, strict=True):
                self.common[output], known[id(tensor)] = tensor, output
            return outputs

        walked = keras.models.clone_model(
            network, input_tensors=image, clone_function=lambda layer: layer, call_function=call
        )
        self._output = walked.output
        take(self._output)

    def _new_names(self, name: str, count: int) -> list[str]:
        """The name, or with the lowest numbers that are free."""
        numbered = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(1)))
        return list(itertools.islice((new for new in numbered if new not in self.common), count))

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


def split_template(template: keras.Model) -> Split | None:
    """What the branches of all tasks on a bank compute alike, and the rest, in the bank's template.

    Args:
        template: a `FilterBank.template`.

    Returns:
        The `Split`; `None` where the common part holds nothing of the bank.
    """
    split = Split(template, is_alike)
    shared = {layer.name for layer in template.layers if isinstance(layer, (BankConv2D, Frozen))}
    return None if shared.isdisjoint(split.layers) else split


def call_rest(rest: keras.Model, features: Any, training: bool) -> Any:
    """Calls a `Split.rest` with what it takes of the common part, or a whole network with images."""
    if isinstance(features, dict):
        features = {name: features[name] for name in rest.input}
    return rest(features, training=training)
