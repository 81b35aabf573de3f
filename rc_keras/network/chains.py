"""Layers of a functional model that stand alone behind one another."""

import collections
from collections.abc import Iterator
from typing import Any

import keras


def chains(network: keras.Model) -> Iterator[tuple[keras.Operation, keras.Operation]]:
    """Pairs of layers of which the second takes nothing but the output of the first, and nothing else takes that.

    The links between layers are read from the configuration of the model, their public form.
    """
    config = network.get_config()
    calls = {layer["name"]: layer["inbound_nodes"] for layer in config["layers"]}
    sources = {name: list(_sources(nodes)) for name, nodes in calls.items()}
    uses = collections.Counter(source for names in sources.values() for source in names)
    uses.update(name for name in keras.tree.flatten(config["output_layers"]) if isinstance(name, str))
    layers = {layer.name: layer for layer in network.operations}  # those of `keras.ops` too
    for name, nodes in calls.items():
        if len(sources[name]) == 1 and uses[sources[name][0]] == 1 and not any(nodes[0]["kwargs"].values()):
            yield layers[sources[name][0]], layers[name]


def _sources(config: Any) -> Iterator[str]:
    """Names of the layers whose outputs a serialized call takes."""
    if isinstance(config, dict) and config.get("class_name") == "__keras_tensor__":
        yield config["config"]["keras_history"][0]
    elif isinstance(config, (dict, list, tuple)):
        for part in config.values() if isinstance(config, dict) else config:
            yield from _sources(part)
