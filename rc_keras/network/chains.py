"""Layers of a functional model that stand alone behind one another."""

import collections
import dataclasses
from collections.abc import Iterator
from typing import Any, TypeAlias

import keras

Pair: TypeAlias = tuple[keras.Operation, keras.Operation]


def chains(network: keras.Model) -> Iterator[Pair]:
    """Pairs of layers of which the second takes nothing but the output of the first, and nothing else takes that.

    Of layers that are called several times, each call of the second takes that of another call of the first.

    The links between layers are read from the configuration of the model, their public form.
    """
    for link in _links(network):
        if link.calls_alone == link.calls == link.uses:
            yield link.pair


def chained_calls(network: keras.Model) -> Iterator[Pair]:
    """Pairs of layers for which what `chains` says holds in one call at least, whatever their other calls are."""
    for link in _links(network):
        if link.calls_alone:
            yield link.pair


@dataclasses.dataclass(frozen=True)
class _Link:
    """A layer that takes nothing but outputs of another one.

    Attributes:
        pair: the two layers, that which is taken from first.
        calls: how often the second layer is called.
        calls_alone: in how many of these it takes, without further tensors, an output that nothing else takes.
        uses: how often outputs of the first layer are taken, by any layer or as outputs of the model.
    """

    pair: Pair
    calls: int
    calls_alone: int
    uses: int


def _links(network: keras.Model) -> Iterator[_Link]:
    config = network.get_config()
    calls = {layer["name"]: layer["inbound_nodes"] for layer in config["layers"]}
    sources = {name: [list(_sources(node)) for node in nodes] for name, nodes in calls.items()}
    uses = collections.Counter(source for taken in sources.values() for each in taken for source in each)
    uses.update(_outputs(config["output_layers"]))
    uses_of_layers: collections.Counter[str] = collections.Counter()
    for (name, *_), count in uses.items():
        uses_of_layers[name] += count
    layers = {layer.name: layer for layer in network.operations}  # those of `keras.ops` too
    for name, nodes in calls.items():
        alone = [
            each[0][0]
            for node, each in zip(nodes, sources[name], strict=True)
            if len(each) == 1 and uses[each[0]] == 1 and not any(node["kwargs"].values())
        ]
        for first, count in collections.Counter(alone).items():
            yield _Link((layers[first], layers[name]), len(nodes), count, uses_of_layers[first])


def _sources(config: Any) -> Iterator[tuple[Any, ...]]:
    """The tensors that a serialized call takes, each as name of a layer, index of its call, and of the output."""
    if isinstance(config, dict) and config.get("class_name") == "__keras_tensor__":
        yield tuple(config["config"]["keras_history"])
    elif isinstance(config, (dict, list, tuple)):
        for part in config.values() if isinstance(config, dict) else config:
            yield from _sources(part)


def _outputs(config: Any) -> Iterator[tuple[Any, ...]]:
    """The outputs of a serialized model, as `_sources` names tensors."""
    if isinstance(config, (list, tuple)) and len(config) == 3 and isinstance(config[0], str):
        yield tuple(config)
    elif isinstance(config, (dict, list, tuple)):
        for part in config.values() if isinstance(config, dict) else config:
            yield from _outputs(part)
